"""Storage: a file appears whole or not at all, a record has one writer, no secret shows."""

import asyncio
import errno
import hashlib
import json
import os
import pickle
import re
import resource
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import s3fs

from prefect_sora.errors import CorruptVideoError, DownloadError, RenderTimeoutError, StorageError
from prefect_sora.store.backends import VideoFolder, Written, disk
from prefect_sora.store.backends.object_stores import ObjectStore
from prefect_sora.store.backends.refusals import refusal
from prefect_sora.store.backends.uploads import ObjectUpload
from tests.support.processes import Forked
from tests.support.s3 import S3, SECRET, Meddler, traces

SMALL = b"a fox in the snow"
LARGE = bytes(range(256)) * (9 * 4096)  # 9 MiB: more than one part of an S3 upload


async def arriving(
    body: bytes, then: Exception | None = None, step: int = 300_000
) -> AsyncIterator[bytes]:
    for start in range(0, len(body), step):
        yield body[start : start + step]
    if then:
        raise then


@dataclass
class Eye:
    """A check that remembers what it saw, and objects if told to."""

    objection: Exception | None = None
    pieces: list[int] = field(default_factory=list)
    seen: Any = field(default_factory=hashlib.sha256)

    def feed(self, chunk: bytes) -> None:
        self.pieces.append(len(chunk))
        self.seen.update(chunk)

    def finish(self) -> None:
        if self.objection:
            raise self.objection


# --- a file appears whole, or not at all


@pytest.mark.parametrize("body", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
async def test_a_video_lands_under_its_name_with_its_digest(
    folder: VideoFolder, body: bytes
) -> None:
    eye = Eye()
    written = await folder.write(
        "fox/video.mp4", arriving(body), expected_bytes=len(body), check=eye
    )

    digest = hashlib.sha256(body).hexdigest()
    assert written == Written(folder.url("fox/video.mp4"), len(body), digest)
    assert await folder.read("fox/video.mp4") == body
    assert eye.seen.hexdigest() == digest
    assert traces(folder) == ["fox/video.mp4"]


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize(
    ("cut", "then", "objection"),
    [
        pytest.param(1, None, None, id="the last byte is missing"),
        pytest.param(-1, None, None, id="a byte too many arrives"),
        pytest.param(0, None, CorruptVideoError("no MP4"), id="the check objects"),
        pytest.param(0, DownloadError("reset"), None, id="the connection drops"),
        pytest.param(0, RenderTimeoutError("too late"), None, id="the deadline passes"),
        pytest.param(0, ConnectionResetError(errno.ECONNRESET, "peer"), None, id="a raw error"),
    ],
)
async def test_a_bad_arrival_leaves_nothing_behind_but_the_former_file(
    folder: VideoFolder,
    body: bytes,
    cut: int,
    then: Exception | None,
    objection: Exception | None,
) -> None:
    await folder.put("video.mp4", b"the former one")

    expected = then or objection
    with pytest.raises(type(expected) if expected else CorruptVideoError) as caught:
        await folder.write(
            "video.mp4", arriving(body, then), expected_bytes=len(body) + cut, check=Eye(objection)
        )

    if expected:
        assert caught.value is expected
    assert await folder.read("video.mp4") == b"the former one"
    assert traces(folder) == ["video.mp4"]


async def test_nothing_is_visible_before_the_last_check(folder: VideoFolder) -> None:
    async def looking() -> AsyncIterator[bytes]:
        yield LARGE
        yield SMALL
        seen.append(await folder.names())

    seen: list[list[str]] = []
    await folder.write("video.mp4", looking())

    assert seen == [[]]


async def test_an_endless_body_is_given_up_when_it_exceeds_its_length(folder: VideoFolder) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield SMALL

    with pytest.raises(CorruptVideoError):
        await folder.write("video.mp4", endless(), expected_bytes=100)


async def test_tiny_chunks_are_gathered_before_they_go_to_a_thread(tmp_path: Path) -> None:
    eye = Eye()
    await VideoFolder(str(tmp_path)).write("video.mp4", arriving(LARGE, step=1000), check=eye)

    assert len(eye.pieces) == 36


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
async def test_cancelling_leaves_nothing_behind(folder: VideoFolder, body: bytes) -> None:
    async def stopping() -> AsyncIterator[bytes]:
        yield body
        arrived.set()
        await asyncio.Event().wait()

    arrived = asyncio.Event()
    writing = asyncio.create_task(folder.write("video.mp4", stopping()))
    await arrived.wait()
    writing.cancel()

    with pytest.raises(asyncio.CancelledError):
        await writing
    assert traces(folder) == []


async def test_cancelling_waits_for_the_thread_that_still_writes(folder: VideoFolder) -> None:
    class Slow(Eye):
        def feed(self, chunk: bytes) -> None:
            loop.call_soon_threadsafe(begun.set)
            release.wait(30)

    loop, begun, release = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    writing = asyncio.create_task(folder.write("video.mp4", arriving(LARGE), check=Slow()))
    await begun.wait()
    writing.cancel()
    await asyncio.sleep(0)  # the cancellation arrives while the thread is at work
    writing.cancel()
    loop.call_later(0.05, release.set)

    with pytest.raises(asyncio.CancelledError):
        await writing
    assert traces(folder) == []


# --- disks that refuse


@contextmanager
def mounted(where: Path, options: str) -> Iterator[Path]:
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "none", str(where)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a file system of our own is not allowed here")
    try:
        yield where
    finally:
        subprocess.run(["umount", str(where)], check=True)


async def test_a_full_disk_says_so_and_is_left_as_it_was(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=1m") as disk:
        folder = VideoFolder(str(disk))
        with pytest.raises(StorageError, match=r"video.mp4: it is full") as caught:
            await folder.write("video.mp4", arriving(LARGE))
        with pytest.raises(StorageError, match="it is full"):
            await folder.put("video.mp4", LARGE)
        with pytest.raises(StorageError, match="it is full"):
            await folder.create("video.mp4", LARGE)

        assert caught.value.retryable
        assert traces(folder) == []


async def test_a_limit_on_file_sizes_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    folder = VideoFolder(str(tmp_path))
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, former[1]))
    try:
        with pytest.raises(StorageError, match="may not grow this large"):
            await folder.write("video.mp4", arriving(LARGE))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)

    assert traces(folder) == []


async def test_a_read_only_disk_says_so(tmp_path: Path) -> None:
    refused = pytest.raises(StorageError, match="it is not writable")
    with mounted(tmp_path / "disk", "ro") as disk, refused:
        await VideoFolder(str(disk)).check()


async def test_a_file_in_the_way_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "videos").write_text("I was here first")

    for path in ["videos", "videos/of/foxes"]:
        with pytest.raises(StorageError, match="a file stands where a folder is needed"):
            await VideoFolder(str(tmp_path / path)).check()


# --- a record has one writer


async def test_one_of_twenty_racing_writers_creates_the_record(folder: VideoFolder) -> None:
    records = [f"writer {n}".encode() for n in range(20)]
    won = await asyncio.gather(*(folder.create("fox/reserved.json", data) for data in records))

    assert won.count(True) == 1
    assert await folder.read("fox/reserved.json") == records[won.index(True)]
    assert traces(folder) == ["fox/reserved.json"]


async def test_equal_records_have_one_writer_too(folder: VideoFolder) -> None:
    won = await asyncio.gather(*(folder.create("reserved.json", SMALL) for _ in range(8)))

    assert won.count(True) == 1


@pytest.mark.parametrize("kind", ["disk", "s3"])
def test_one_of_several_racing_processes_creates_the_record(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    root, options = str(tmp_path), {}
    if kind == "s3":
        s3: S3 = request.getfixturevalue("s3")
        root, options = s3.folder().root, s3.options
    script = (
        "await folder.read('warm'); print('ready', flush=True); sys.stdin.readline()\n"
        "    print(await folder.create('reserved.json', sys.argv[3].encode()))"
    )
    racers = [process(script, root, options, f"process {n}") for n in range(5)]
    for racer in racers:
        assert line_of(racer) == "ready"
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("go\n")
        racer.stdin.flush()
    said = [racer.communicate()[0].strip() for racer in racers]

    assert sorted(said) == ["False"] * 4 + ["True"]
    record = asyncio.run(VideoFolder(root, options).read("reserved.json"))
    assert record == f"process {said.index('True')}".encode()


async def test_without_hard_links_one_writer_wins_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(source: str, target: str) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))  # what FAT and some shares answer

    monkeypatch.setattr(os, "link", no_links)
    folder = VideoFolder(str(tmp_path))
    records = [f"writer {n}".encode() for n in range(20)]
    won = await asyncio.gather(*(folder.create("reserved.json", data) for data in records))

    assert won.count(True) == 1
    assert await folder.read("reserved.json") == records[won.index(True)]
    assert traces(folder) == ["reserved.json"]


async def test_a_link_whose_answer_was_lost_still_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def forgetful(source: str, target: str) -> None:
        link(source, target)
        link(source, target)  # a network disk repeats it, and meets its own work

    monkeypatch.setattr(os, "link", forgetful)

    assert await VideoFolder(str(tmp_path)).create("reserved.json", SMALL)


async def test_a_create_whose_answer_was_lost_is_still_ours(s3: S3, meddler: Meddler) -> None:
    folder = VideoFolder(f"s3://{s3.bucket}/videos", meddler.options(s3))
    meddler.lose_answers = ["PUT"]

    assert await folder.create("reserved.json", SMALL) is True
    assert await folder.create("reserved.json", SMALL) is False
    assert meddler.seen.count(f"PUT /{s3.bucket}/videos/reserved.json") == 3


async def test_a_create_whose_answer_never_comes_is_still_ours(s3: S3, meddler: Meddler) -> None:
    folder = VideoFolder(f"s3://{s3.bucket}/videos", impatient(meddler.options(s3)))
    meddler.lose_answers = ["PUT", "PUT"]

    assert await folder.create("reserved.json", SMALL) is True
    assert await folder.create("reserved.json", SMALL) is False


async def test_a_conflict_that_decided_nothing_is_tried_again(s3: S3, meddler: Meddler) -> None:
    folder = VideoFolder(f"s3://{s3.bucket}/videos", meddler.options(s3))
    meddler.conflicts = 2

    assert await folder.create("reserved.json", SMALL) is True


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
async def test_parts_and_commits_whose_answers_were_lost_are_repeated(
    s3: S3, meddler: Meddler, body: bytes
) -> None:
    async def losing() -> AsyncIterator[bytes]:
        yield body
        meddler.lose_answers = ["PUT", "PUT", "POST"]  # to the last part twice, to the commit

    folder = VideoFolder(f"s3://{s3.bucket}/videos", meddler.options(s3))
    await folder.write("video.mp4", losing())

    assert await folder.read("video.mp4") == body
    assert traces(s3.folder()) == ["video.mp4"]


async def test_a_commit_whose_answer_never_comes_is_recognised(s3: S3, meddler: Meddler) -> None:
    async def losing_the_commit() -> AsyncIterator[bytes]:
        yield LARGE
        meddler.lose_answers = ["POST"]

    folder = VideoFolder(f"s3://{s3.bucket}/videos", impatient(meddler.options(s3)))
    await folder.write("video.mp4", losing_the_commit())

    assert await folder.read("video.mp4") == LARGE
    assert traces(s3.folder()) == ["video.mp4"]


async def test_a_part_is_never_repeated_without_its_bytes(s3: S3, meddler: Meddler) -> None:
    folder = VideoFolder(f"s3://{s3.bucket}/videos", impatient(meddler.options(s3)))

    async def losing_a_part() -> AsyncIterator[bytes]:
        yield LARGE
        meddler.lose_answers = ["PUT", "PUT"]

    with pytest.raises(StorageError, match="does not answer"):
        await folder.write("video.mp4", losing_a_part())
    assert traces(s3.folder()) == []


# --- small files and listings


async def test_a_small_file_is_put_read_and_deleted(folder: VideoFolder) -> None:
    assert await folder.put("fox/note.json", b"1") == folder.url("fox/note.json")
    await folder.put("fox/note.json", b"2")
    assert await folder.read("fox/note.json") == b"2"

    await folder.delete("fox/note.json")
    await folder.delete("fox/note.json")
    assert await folder.read("fox/note.json") is None
    assert traces(folder) == []


async def test_names_are_those_of_one_level_and_fresh(folder: VideoFolder) -> None:
    assert await folder.names() == []
    await folder.put("fox/video.mp4", SMALL)
    await folder.put("fox/deep/note.json", SMALL)
    assert await folder.names() == ["fox/"]
    assert await folder.names("fox/") == ["deep/", "video.mp4"]

    # Another writer, with a client of its own: no cache of ours can know of it.
    other = VideoFolder(f"{folder.root}/fox", folder.options)
    await other.put("thumbnail.webp", SMALL)
    await other.delete("video.mp4")

    assert await folder.names("fox") == ["deep/", "thumbnail.webp"]
    assert await folder.names("owl") == []


async def test_a_file_opens_for_seeking(folder: VideoFolder) -> None:
    await folder.write("video.mp4", arriving(LARGE))

    def look() -> tuple[bytes, bytes, int]:
        with folder.open("video.mp4") as file, folder.open("video.mp4") as other:
            file.seek(1_000_000)
            return file.read(10), other.read(3), file.seek(0, os.SEEK_END)

    assert await asyncio.to_thread(look) == (LARGE[1_000_000:1_000_010], LARGE[:3], len(LARGE))


def test_opening_what_is_absent_says_so(folder: VideoFolder) -> None:
    absent = pytest.raises(StorageError, match=r"video.mp4: it does not exist")
    with absent, folder.open("video.mp4"):
        pass


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/.", "a\\b", "a\0"]
)
async def test_names_that_lead_elsewhere_are_programming_errors(name: str, tmp_path: Path) -> None:
    folder = VideoFolder(str(tmp_path))

    with pytest.raises(ValueError, match="not a path below"):
        folder.url(name)
    with pytest.raises(ValueError, match="not a path below"):
        await folder.create(name, b"")
    with pytest.raises(ValueError, match="not a path below"):
        await folder.write(name, arriving(b""))


@pytest.mark.parametrize(
    ("root", "url"),
    [
        ("/videos/", "file:///videos/fox.mp4"),
        ("file:///videos", "file:///videos/fox.mp4"),
        ("~/videos", f"file://{Path.home()}/videos/fox.mp4"),
        ("s3://bucket/videos/", "s3://bucket/videos/fox.mp4"),
        ("memory://", "memory://fox.mp4"),
        ("abfs://films@account.net", "abfs://films@account.net/fox.mp4"),
    ],
)
def test_a_url_names_the_file_from_anywhere(root: str, url: str) -> None:
    assert VideoFolder(root, {"key": "videos"}).url("fox.mp4") == url


# --- what killed writers leave


WRITING = (
    "async def stopping():\n"
    "        yield bytes(9 * 2**20)\n"
    "        print('begun', flush=True)\n"
    "        await asyncio.Event().wait()\n"
    "    await folder.write('a-fox-0123456789ab/video.mp4', stopping())"
)


@pytest.mark.parametrize("kind", ["disk", "s3"])
async def test_a_killed_writer_leaves_no_video_and_its_remains_are_swept(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder, young = VideoFolder(str(tmp_path)), timedelta(0)
    if kind == "s3":
        folder = request.getfixturevalue("s3").folder()
        young = timedelta(days=36_500)  # moto says that every upload began in 2010
    writer = process(WRITING, folder.root, folder.options)
    assert line_of(writer) == "begun"
    assert await folder.sweep_parts(older_than=young) == []  # it is alive, or could be
    writer.send_signal(signal.SIGKILL)
    writer.communicate()

    assert await folder.names("a-fox-0123456789ab") == []
    assert len(traces(folder)) == 1
    # A disk shows that its writer is dead; on S3 the upload's age decides.
    age = timedelta(days=1) if kind == "disk" else timedelta(0)
    assert len(await folder.sweep_parts(older_than=age)) == 1
    assert traces(folder) == []


async def test_where_no_lock_tells_it_the_age_of_a_part_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "fcntl", None)
    folder = VideoFolder(str(tmp_path))
    (tmp_path / "fox-0123456789ab").mkdir()
    (tmp_path / "fox-0123456789ab" / f".video.mp4.{'0' * 32}.part").write_bytes(SMALL)
    assert await folder.sweep_parts() == []
    assert len(await folder.sweep_parts(older_than=timedelta(0))) == 1
    await folder.put("fox.mp4", SMALL)
    assert await folder.create("fox.json", SMALL)
    assert traces(folder) == ["fox.json", "fox.mp4"]


async def test_sweeping_takes_only_our_own_remains(folder: VideoFolder) -> None:
    kept = ["fox/.hidden.part", "fox/video.mp4", "fox/video.mp4.part"]
    for name in kept:
        await folder.put(name, SMALL)

    assert await folder.sweep_parts(older_than=timedelta(0)) == []
    assert traces(folder) == kept


# --- is it usable?


async def test_a_usable_folder_passes_its_check_and_keeps_no_trace(folder: VideoFolder) -> None:
    await folder.check()

    assert traces(folder) == []


async def test_a_server_without_conditional_writes_fails_the_check(
    s3: S3, meddler: Meddler
) -> None:
    meddler.ignore_conditions = True
    folder = VideoFolder(f"s3://{s3.bucket}/videos", meddler.options(s3))

    with pytest.raises(StorageError, match="two writers create the same file"):
        await folder.check()
    assert traces(s3.folder()) == []


async def test_a_missing_bucket_is_not_an_empty_one(s3: S3) -> None:
    folder = VideoFolder("s3://no-such-bucket/videos", s3.options)

    actions: list[Callable[[], Any]] = [
        folder.check,
        folder.names,
        lambda: folder.read("fox/reserved.json"),
        lambda: folder.create("fox/reserved.json", b""),
        lambda: folder.write("fox/video.mp4", arriving(LARGE)),
    ]
    for action in actions:
        with pytest.raises(StorageError, match="bucket or container does not exist"):
            await action()


@pytest.mark.parametrize(
    ("root", "says"),
    [
        ("ftp://host/videos", r"ftp://.*Use a local folder, s3://"),
        ("simplecache::s3://bucket", r"simplecache://.*Use a local folder, s3://"),
        ("s3://", r"names no bucket.*s3://bucket/folder"),
        ("nonsense://x", r"Use a local folder"),
        (f"s3://bucket?sig={SECRET}", r"^s3://bucket: .*store's options"),
    ],
)
async def test_an_unsuitable_url_names_the_suitable_ones(root: str, says: str) -> None:
    for action in [VideoFolder(root).check(), VideoFolder(root).create("x", b"")]:
        with pytest.raises(StorageError) as caught:
            await action
        assert re.search(says, str(caught.value))
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("root", "driver", "extra"),
    [
        ("gs://bucket", "gcsfs", "gcs"),
        ("abfs://films@account.dfs.core.windows.net", "adlfs", "abfs"),
    ],
)
async def test_a_missing_driver_names_the_extra_that_brings_it(
    root: str, driver: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, driver, None)

    with pytest.raises(StorageError, match=rf"pip install \"prefect-sora\[{extra}\]\""):
        await VideoFolder(root, {"unique": uuid4().hex}).check()


async def test_no_credentials_at_all_says_where_to_put_them(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    folder = VideoFolder(f"s3://{s3.bucket}", {"endpoint_url": s3.endpoint_url})

    with pytest.raises(StorageError, match=r"no credentials were found.*options"):
        await folder.check()


# --- no secret shows


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="the bucket is missing"),
        pytest.param({"endpoint_url": "http://127.0.0.1:9"}, id="nobody answers"),
        pytest.param(
            {"endpoint_url": f"http://user:{SECRET}@127.0.0.1:9"}, id="a password in the endpoint"
        ),
        pytest.param({"client_kwargs": {"api_version": SECRET}}, id="the driver quotes an option"),
        pytest.param({"config_kwargs": {"retries": [SECRET]}}, id="a wrong type"),
    ],
)
async def test_no_error_shows_an_option(s3: S3, options: dict[str, Any]) -> None:
    folder = VideoFolder("s3://no-such-bucket", {**impatient(s3.options), **options})

    with pytest.raises(StorageError) as caught:
        await folder.check()

    shown = "".join(traceback.format_exception(caught.value))
    shown += repr(folder) + repr(caught.value) + str(caught.value)
    shown += repr(pickle.dumps(caught.value)) + json.dumps(caught.value.__dict__, default=vars)
    assert SECRET not in shown
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_a_password_in_a_url_that_a_driver_quotes_is_blanked() -> None:
    error = refusal(ConnectionError("no way to http://user:letmein@host:1/x"), "s3://b", {})

    assert "http://***@host:1/x" in str(error)


# --- memory


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's peak")
@pytest.mark.parametrize("kind", ["disk", "s3"])
def test_memory_does_not_grow_with_the_video(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    root, options = str(tmp_path), {}
    if kind == "s3":
        s3: S3 = request.getfixturevalue("s3")
        root, options = s3.folder().root, s3.options
    script = (
        "async def video(mib):\n"
        "        for _ in range(16 * mib):\n"
        "            yield bytes(65536)\n"
        "    def memory(key):\n"
        "        lines = open('/proc/self/status').read().splitlines()\n"
        "        return next(int(l.split()[1]) for l in lines if l.startswith(key)) / 1024\n"
        "    await folder.check()\n"
        "    idle = memory('VmRSS')\n"
        "    await folder.write('video.mp4', video(80))\n"
        "    print(memory('VmHWM') - idle)"
    )
    said, _ = process(script, root, options).communicate()

    assert float(said) < 32


# --- fsspec's own uploads, which Google and Azure take


@pytest.mark.parametrize("kind", ["gs", "abfs"])
@pytest.mark.parametrize("body", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
def test_an_fsspec_upload_appears_when_published_and_never_when_discarded(
    s3: S3, body: bytes, kind: str
) -> None:
    path = f"{s3.bucket}/videos"
    store = ObjectStore(s3fs.S3FileSystem(**s3.options), kind)
    published = ObjectUpload(store, f"{path}/published.mp4")
    discarded = ObjectUpload(store, f"{path}/discarded.mp4")
    for upload in [published, discarded]:
        upload.write(body)
    assert s3.keys() == []

    published.publish()
    published.discard()
    discarded.discard()

    assert traces(s3.folder()) == ["published.mp4"]
    assert store.read(f"{path}/published.mp4") == body


def impatient(options: dict[str, Any]) -> dict[str, Any]:
    """Switch off what the driver does by itself when an answer does not come."""
    return {**options, "config_kwargs": {"connect_timeout": 1, "retries": {"max_attempts": 0}}}


def process(script: str, root: str, options: Any, *arguments: str) -> Forked:
    """Run an indented script about `folder` in a process of its own."""
    program = (
        "import asyncio, json, sys\n"
        "from prefect_sora.store.backends import VideoFolder\n"
        "async def main():\n"
        "    folder = VideoFolder(sys.argv[1], json.loads(sys.argv[2]))\n"
        f"    {script}\n"
        "asyncio.run(main())\n"
    )
    words = ["-c", program, root, json.dumps(dict(options)), *arguments]
    return Forked(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def line_of(running: Forked) -> str:
    assert running.stdout
    return running.stdout.readline().strip()
