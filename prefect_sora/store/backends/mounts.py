"""Mounts: whether a folder lies on a disk of this machine, or on one that others write to, too."""

import os
import re
from collections.abc import Iterable
from typing import Final

_SHARED: Final = re.compile(
    # Over a network: from file servers, and from clusters.
    r"nfs\d?|cifs|smb\d?|smbfs|smbclient|afpfs|afs|webdav|davfs2?|ncpfs?"
    r"|ceph|lustre|beegfs\w*|gpfs|gluster\w*|gfs2|ocfs2|pvfs2|orangefs"
    # By a program in place of the kernel: sshfs, rclone, s3fs, gcsfuse, blobfuse and so on.
    r"|fuse|fuse\.\S+|macfuse\w*|osxfuse\w*",
    re.IGNORECASE,
)
_OF_THIS_MACHINE: Final = re.compile(
    r"fuse\.(?:fuse-overlayfs|ntfs(?:-3g)?|exfat|ext\d|zfs|unionfs)"
)
"""Disks of one's own, though by a program. So is `fuseblk`, which the other pattern leaves out."""


def shared_kind(path: str) -> str | None:
    """The file system's type where other machines may write, too; None for this machine's disk.

    Args:
        path: An absolute path; it need not be there yet.
    """
    import psutil  # where it is used: it takes as long to import as all else of a refusal

    mounts = ((one.mountpoint, one.fstype) for one in psutil.disk_partitions(all=True))
    return kind_among(os.path.realpath(path), mounts)


def kind_among(path: str, mounts: Iterable[tuple[str, str]]) -> str | None:
    """Find that type in a list of mount points and types; the last entry of a point counts."""
    best, kind = "", ""
    for point, fstype in mounts:
        below = point.rstrip(os.sep) + os.sep
        if f"{path}{os.sep}".startswith(below) and len(below) >= len(best):
            best, kind = below, fstype
    return kind if _SHARED.fullmatch(kind) and not _OF_THIS_MACHINE.fullmatch(kind) else None
