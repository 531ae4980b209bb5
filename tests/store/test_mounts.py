"""Mounts: a store on a disk that other machines write to is told from one on a disk of ours."""

import os
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from prefect_sora.cli.commands.doctor import _store
from prefect_sora.cli.saved import store_named
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.backends.mounts import kind_among, shared_kind

MOUNTS = [
    ("/", "overlay"),
    ("/mnt/films", "nfs4"),
    ("/mnt/films/here", "ext4"),
    ("/mnt/share", "autofs"),
    ("/mnt/share", "cifs"),
    ("/gcs", "fuse.gcsfuse"),
]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me/renders", None),
        ("/mnt/films", "nfs4"),
        ("/mnt/films/2026/kite", "nfs4"),
        ("/mnt/films/here/kite", None),
        ("/mnt/filmstrips", None),
        ("/mnt/share/kite", "cifs"),
        ("/gcs/bucket", "fuse.gcsfuse"),
    ],
)
def test_the_nearest_mount_above_a_folder_tells(path: str, kind: str | None) -> None:
    assert kind_among(path, MOUNTS) == kind


@pytest.mark.parametrize(
    "kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "fuse.rclone", "fuse", "lustre", "ceph"]
)
def test_what_others_write_to_is_told(kind: str) -> None:
    assert kind_among("/films", [("/", kind)]) == kind


@pytest.mark.parametrize(
    "kind",
    [
        *("ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "apfs", "NTFS", "vfat", "9p"),
        *("virtiofs", "fuseblk", "fuse.fuse-overlayfs", "fusectl", "nfsd", "ramfs", ""),
    ],
)
def test_a_disk_of_this_machine_raises_no_alarm(kind: str) -> None:
    assert kind_among("/films", [("/", kind)]) is None


class Mount(NamedTuple):
    mountpoint: str
    fstype: str


@pytest.fixture
def on_nfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that this machine takes for one on a file server."""
    mounts = [Mount("/", "ext4"), Mount(os.path.realpath(tmp_path), "nfs4")]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: mounts)
    return tmp_path


async def test_doctor_warns_of_a_store_that_other_machines_may_write_to(on_nfs: Path) -> None:
    finding = await _store(store_named(str(on_nfs / "renders")))

    assert finding.ok
    assert "nfs4" in finding.found
    assert "nolock" in str(finding.next_step)


async def test_doctor_has_no_doubt_of_a_disk_of_this_machine(tmp_path: Path) -> None:
    finding = await _store(store_named(str(tmp_path / "renders")))

    assert (finding.ok, finding.next_step) == (True, None)
    assert shared_kind(str(tmp_path)) is None


async def test_where_locks_of_others_may_not_show_a_young_part_is_left(on_nfs: Path) -> None:
    folder = on_nfs / "kite-0123456789ab"
    folder.mkdir()
    (folder / f".video.mp4.{'0' * 32}.part").touch()  # no lock that this machine sees

    assert await VideoFolder(str(on_nfs)).sweep_parts() == []
    assert len(await VideoFolder(str(on_nfs)).sweep_parts(older_than=timedelta(0))) == 1
