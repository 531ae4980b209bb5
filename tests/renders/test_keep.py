"""Keeping: a finished video comes home from wherever the server has it, or is there already."""

import asyncio
import hashlib
import itertools
import pickle
import traceback
from asyncio import timeout
from collections.abc import Iterator
from pathlib import Path
from time import time
from typing import Any

import pytest
from pydantic import SecretStr

from prefect_sora.errors import (
    AuthenticationError,
    DownloadError,
    SoraError,
    StorageError,
    VideoExpiredError,
)
from prefect_sora.handles import RenderedVideo
from prefect_sora.renders.finish.fetch import download, fetch
from prefect_sora.renders.finish.keep import keep, kept
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.profiles import OPENAI
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from tests.media.test_mp4 import clip
from tests.support.limits import Limit
from tests.support.renderer import Renderer
from tests.support.scripted import Answer, Reply, Script

CLIP = clip("faststart")
KITE = RenderedVideo(
    key="0123456789ab",
    folder="a-red-kite-0123456789ab",
    video_id="video_1",
    provider="test",
    title="a red kite",
    submitted_at=1.0,
)
NO_SUCH = {"error": {"message": "no such video"}}


@pytest.fixture(autouse=True)
def quick(limit: Limit) -> None:
    """Pause shortly between downloads, and make three at most."""
    limit(download_pause_max_seconds=0.02, download_attempts=3, retry_pause_seconds=0.01)


@pytest.fixture
def disk(tmp_path: Path) -> Ledger:
    return Ledger(VideoFolder(str(tmp_path / "store")))


def video(status: int = 200, body: bytes = CLIP, **headers: str) -> Reply:
    return status, {"Content-Type": "video/mp4", **headers}, body


def site(content: Reply, job: Reply = (404, {}, NO_SUCH), **files: Reply) -> Answer:
    """A server with one job, one answer to `/content`, and other files."""

    def answer(method: str, path: str, body: bytes) -> Reply:
        name = path.partition("?")[0].rpartition("/")[2]
        return content if name == "content" else job if name == "video_1" else files[name]

    return answer


def finished(**fields: Any) -> Reply:
    return 200, {}, {"id": "video_1", "status": "completed", **fields}


async def failing(client: VideoClient, ledger: Ledger, job: RenderedVideo = KITE) -> SoraError:
    """Keep the video, which must fail, and return the error."""
    with pytest.raises(SoraError) as caught:
        await keep(job, client, ledger)
    assert (caught.value.key, caught.value.video_id) == (KITE.key, KITE.video_id)
    assert caught.value.paid == "yes"
    assert caught.value.next_step
    return caught.value


# Files that lie elsewhere


@pytest.mark.parametrize("status", [400, 404, 405, 422])
@pytest.mark.parametrize("field", ["url", "urls"])
async def test_a_file_that_lies_elsewhere_is_fetched_there_with_no_credentials(
    scripted: Script, disk: Ledger, status: int, field: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    bucket, _ = scripted(lambda *_: video())
    signed = f"{bucket.root}/file?sig=sig-canary"
    job = finished(**{field: [signed] if field == "urls" else signed})
    server, client = scripted(site((status, {}, NO_SUCH), job), api_key=SecretStr("sk-canary"))

    stored = await keep(KITE, client, disk)

    assert stored.sha256 == hashlib.sha256(CLIP).hexdigest()
    assert bucket.seen[0].path == "/file?sig=sig-canary"
    assert "sk-canary" in str(server.seen)
    assert "sk-canary" not in str(bucket.seen)
    records = [await disk.store.read(f"{KITE.folder}/{name}") for name in ("stored.json",)]
    assert "canary" not in f"{stored!r} {records} {caplog.text} {await client.retrieve('video_1')}"


async def test_a_file_may_lie_at_a_path_of_the_server_itself(
    scripted: Script, disk: Ledger
) -> None:
    answer = site((404, {}, NO_SUCH), finished(url="/files/kite.mp4"), **{"kite.mp4": video()})
    server, client = scripted(answer, api_key=SecretStr("sk-canary"))
    await keep(KITE, client, disk)
    assert server.seen[-1].path == "/files/kite.mp4"
    assert server.seen[-1].headers["authorization"] == "Bearer sk-canary"


async def test_a_signature_that_ran_out_is_asked_for_anew(scripted: Script, disk: Ledger) -> None:
    asked = 0

    def answer(method: str, path: str, body: bytes) -> Reply:
        nonlocal asked
        if path.endswith("/content"):
            return 400, {}, NO_SUCH
        if path.endswith("/video_1"):
            asked += 1
            return finished(url=f"{bucket.root}/file?sig={asked}")
        raise AssertionError(path)

    bucket, _ = scripted(lambda _, path, __: video() if path.endswith("=2") else (403, {}, b""))
    _, client = scripted(answer)
    assert (await keep(KITE, client, disk)).size_bytes == len(CLIP)


@pytest.mark.parametrize("own", [True, False], ids=["its own", "another"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 500])
async def test_what_a_place_refuses_can_be_fetched_later_and_names_no_address(
    scripted: Script, disk: Ledger, own: bool, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    bucket, _ = scripted(lambda *_: (status, {}, {"error": {"message": "canary"}}))
    root = "" if own else bucket.root
    job = finished(url=f"{root}/file?sig=canary")
    _, client = scripted(
        site((400, {}, NO_SUCH), job, file=(status, {}, {"error": {"message": "canary"}}))
    )
    error = await failing(client, disk)
    assert type(error) is DownloadError
    assert f"answered {status}" in error.message
    assert "resume 0123456789ab" in str(error)
    assert "canary" not in "".join(traceback.format_exception(error)) + caplog.text
    assert b"canary" not in pickle.dumps(error)


@pytest.mark.parametrize(
    "url", ["http://[canary", "ftp://host/canary", "http://127.0.0.1:1/canary"]
)
async def test_a_place_that_is_none_can_be_mended(scripted: Script, disk: Ledger, url: str) -> None:
    _, client = scripted(site((400, {}, NO_SUCH), finished(url=url)))
    error = await failing(client, disk)
    assert type(error) is DownloadError
    assert "canary" not in "".join(traceback.format_exception(error))


# What is gone, and what is not


@pytest.mark.parametrize("status", [400, 404, 409, 422, 429, 500, 503])
async def test_a_file_that_is_not_given_though_its_job_is_finished_can_be_fetched_later(
    scripted: Script, disk: Ledger, status: int
) -> None:
    _, client = scripted(site((status, {}, NO_SUCH), finished()))
    error = await failing(client, disk)
    assert (type(error), error.retryable) == (DownloadError, True)
    assert f"({status})" in error.message


@pytest.mark.parametrize(
    ("content", "job", "expires_in"),
    [
        (410, finished(), None),
        (404, finished(expires_at=time() - 60), None),
        (404, (404, {}, NO_SUCH), -1),
        (404, (500, {}, NO_SUCH), -1),
        (404, (404, {}, NO_SUCH), None),
        (400, (200, {}, {"id": "video_1", "status": "expired"}), None),
        (404, (200, {}, {"id": "video_1", "status": "deleted"}), None),
    ],
)
async def test_a_video_that_is_shown_to_be_gone_is_not_asked_for_again(
    scripted: Script, disk: Ledger, content: int, job: Reply, expires_in: float | None
) -> None:
    _, client = scripted(site((content, {}, NO_SUCH), job))
    expires_at = None if expires_in is None else time() + expires_in
    error = await failing(client, disk, KITE.model_copy(update={"expires_at": expires_at}))
    assert (type(error), error.retryable) == (VideoExpiredError, False)


@pytest.mark.parametrize("job", [finished(), (500, {}, NO_SUCH), (401, {}, NO_SUCH)])
async def test_a_video_that_has_time_left_is_not_gone(
    scripted: Script, disk: Ledger, job: Reply
) -> None:
    _, client = scripted(site((404, {}, NO_SUCH), job))
    error = await failing(client, disk, KITE.model_copy(update={"expires_at": time() + 60}))
    assert type(error) is DownloadError


async def test_a_job_that_one_replica_does_not_know_is_asked_for_again(
    scripted: Script, disk: Ledger
) -> None:
    answers: Iterator[Reply] = iter([(404, {}, NO_SUCH), (404, {}, NO_SUCH), video()])
    _, client = scripted(lambda *_: next(answers))
    assert (await keep(KITE, client, disk)).size_bytes == len(CLIP)


async def test_a_404_of_one_replica_time_after_time_is_no_video_that_is_gone(
    scripted: Script, disk: Ledger
) -> None:
    answers: Iterator[Reply] = iter([*[(404, {}, NO_SUCH)] * 10, video()])
    _, client = scripted(lambda *_: next(answers))
    assert (await keep(KITE, client, disk)).size_bytes == len(CLIP)


async def test_of_replicas_that_take_turns_the_one_that_has_the_file_is_found(
    scripted: Script, disk: Ledger
) -> None:
    has_it = itertools.cycle([False, True])

    def answer(method: str, path: str, body: bytes) -> Reply:
        if not next(has_it):
            return 404, {}, NO_SUCH
        return video() if path.endswith("/content") else finished()

    _, client = scripted(answer)
    assert (await keep(KITE, client, disk)).size_bytes == len(CLIP)


async def test_a_job_that_some_replicas_know_is_not_gone_however_often_others_say_so(
    scripted: Script, disk: Ledger
) -> None:
    known = iter([True, False, True])

    def answer(method: str, path: str, body: bytes) -> Reply:
        there = path.endswith("video_1") and next(known, False)
        return finished() if there else (404, {}, NO_SUCH)

    _, client = scripted(answer)
    error = await failing(client, disk)
    assert type(error) is DownloadError
    assert "Route all requests of a client to the same one" in str(error)


async def test_a_key_that_works_no_longer_says_so_and_what_was_paid(
    scripted: Script, disk: Ledger
) -> None:
    _, client = scripted(site((401, {}, NO_SUCH)))
    assert isinstance(await failing(client, disk), AuthenticationError)


@pytest.mark.parametrize("expires_at", [1e300, 1.7e12])
async def test_an_end_that_is_no_time_is_no_trouble(
    scripted: Script, disk: Ledger, expires_at: float
) -> None:
    _, client = scripted(site((500, {}, NO_SUCH)))
    error = await failing(client, disk, KITE.model_copy(update={"expires_at": expires_at}))
    assert type(error) is DownloadError


# How long it takes


async def test_a_server_that_asks_for_an_hour_is_asked_again_before(
    scripted: Script, disk: Ledger
) -> None:
    answers = iter([(503, {"Retry-After": "3600"}, NO_SUCH), video()])
    _, client = scripted(lambda *_: next(answers))
    async with timeout(5):
        await fetch(KITE, client, disk.store, "video.mp4")


async def test_no_pause_outlasts_the_video(scripted: Script, disk: Ledger, limit: Limit) -> None:
    limit(download_pause_max_seconds=60.0)
    answers = iter([(503, {"Retry-After": "50"}, NO_SUCH), video()])
    _, client = scripted(lambda *_: next(answers))
    async with timeout(5):
        job = KITE.model_copy(update={"expires_at": time() + 1})
        await fetch(job, client, disk.store, "video.mp4")


# A download that is cut goes on


LONG = CLIP + (200_000).to_bytes(4) + b"free" + bytes(range(256)) * 781 + bytes(56)
CUT = 150_000


def cut_then(tag: str | None, *others: Reply) -> Answer:
    """A server that sends less than it announced, and then what is given."""
    headers = {"Content-Length": f"{len(LONG)}", **({"ETag": tag} if tag else {})}
    answers = iter([(200, headers, LONG[:CUT]), *others])
    return lambda *_: next(answers)


def rest(at_byte: int, tag: str | None = None, length: int = len(LONG)) -> Reply:
    span = {"Content-Range": f"bytes {at_byte}-{length - 1}/{length}"}
    return video(206, LONG[at_byte:], **span, **({"ETag": tag} if tag else {}))


# What has come whole of 64 KiB pieces when it is cut.
GOT = 2 * 65536


@pytest.mark.parametrize("tag", ['"a"', 'W/"a"', None])
async def test_a_download_that_is_cut_goes_on_where_it_was_cut(
    scripted: Script, disk: Ledger, tag: str | None
) -> None:
    server, client = scripted(cut_then(tag, (503, {}, NO_SUCH), rest(GOT, tag)))

    fetched = await fetch(KITE, client, disk.store, "video.mp4")

    assert fetched.written.sha256 == hashlib.sha256(LONG).hexdigest()
    assert await disk.store.read("video.mp4") == LONG
    assert [one.headers.get("range") for one in server.seen] == [None, *2 * [f"bytes={GOT}-"]]
    assert server.seen[-1].headers.get("if-range") == (tag if tag == '"a"' else None)


@pytest.mark.parametrize(
    "other",
    [
        video(body=LONG),
        rest(GOT, '"b"'),
        rest(GOT, '"a"', len(LONG) + 1),
        rest(GOT - 1, '"a"'),
        video(206, LONG[GOT:], ETag='"a"'),
        (416, {}, NO_SUCH),
    ],
    ids=["all of it", "another file", "a longer one", "another part", "no part", "no such part"],
)
async def test_what_does_not_go_on_is_begun_anew(
    scripted: Script, disk: Ledger, other: Reply
) -> None:
    server, client = scripted(cut_then('"a"', other, video(body=LONG)))
    fetched = await fetch(KITE, client, disk.store, "video.mp4")
    assert fetched.written.sha256 == hashlib.sha256(LONG).hexdigest()
    assert [bool(one.headers.get("range")) for one in server.seen] == [False, True, False]


async def test_a_download_that_is_cut_time_after_time_is_given_up(
    scripted: Script, disk: Ledger, limit: Limit
) -> None:
    limit(body_resumes=2)
    server, client = scripted(lambda *_: None)

    def answer(method: str, path: str, body: bytes) -> Reply:
        if "range" in server.seen[-1].headers:
            return None
        return 200, {"Content-Length": f"{len(LONG)}"}, LONG[:CUT]

    server.answer = answer
    with pytest.raises(DownloadError, match="broke the connection"):
        await fetch(KITE, client, disk.store, "video.mp4")
    assert len(server.seen) == 3 * 3
    assert await disk.store.names() == []


async def test_the_local_renderer_sends_the_rest_of_a_video(
    client: VideoClient, renderer: Renderer, disk: Ledger
) -> None:
    request = VideoRequest(prompt="a kite", model=None, size="640x360", seconds=2)
    job = await client.submit(request, None, "key-1")
    async with timeout(20):
        while (await client.retrieve(job.id)).status != "completed":  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.05)
    renderer.faults([{"on": "content", "do": "cut:70000"}])
    finished = KITE.model_copy(update={"video_id": job.id})
    fetched = await fetch(finished, client, disk.store, "video.mp4")
    assert fetched.info.width == 640
    assert len(renderer.requests("content")) == 2
    assert "range" in str(renderer.requests("content")[1])


# What is there already


@pytest.mark.parametrize("whole", [True, False])
async def test_a_whole_file_without_its_record_is_kept_though_the_server_forgot_it(
    scripted: Script, ledger: Ledger, whole: bool
) -> None:
    soon = OPENAI.model_copy(update={"lost_after_s": 0.3})
    server, client = scripted(site((404, {}, NO_SUCH)), profile=soon)
    await ledger.store.put(f"{KITE.folder}/video.mp4", CLIP if whole else CLIP[:-1])

    found = await kept(KITE, client, ledger)

    assert server.seen == []
    if not whole:
        assert found is None
        assert isinstance(await failing(client, ledger), VideoExpiredError)
        return
    assert found is not None
    assert (found.sha256, found.size_bytes) == (hashlib.sha256(CLIP).hexdigest(), len(CLIP))
    assert found.url == ledger.store.url(f"{KITE.folder}/video.mp4")
    assert found.thumbnail_url
    record = await ledger.stored(KITE.folder)
    assert record is not None
    assert record.video == found == await keep(KITE, client, ledger)
    assert server.seen == []


async def test_what_is_not_there_is_not_kept(scripted: Script, ledger: Ledger) -> None:
    _, client = scripted(site((404, {}, NO_SUCH)))
    assert await kept(KITE, client, ledger) is None


async def test_a_file_that_is_no_video_is_replaced_by_the_one_that_was_paid_for(
    scripted: Script, disk: Ledger
) -> None:
    await disk.store.put(f"{KITE.folder}/video.mp4", b"notes, by mistake under this name")
    _, client = scripted(site(video()))
    assert (await keep(KITE, client, disk)).size_bytes == len(CLIP)
    assert await disk.store.read(f"{KITE.folder}/video.mp4") == CLIP


# A store that refuses


@pytest.mark.parametrize("in_the_way", [KITE.folder, f"{KITE.folder}/video.mp4/x"])
async def test_a_store_that_refuses_says_which_paid_video_it_is_about(
    scripted: Script, disk: Ledger, in_the_way: str
) -> None:
    await disk.store.put(in_the_way, b"no folder, or one too many")
    _, client = scripted(site(video()))
    error = await failing(client, disk)
    assert isinstance(error, StorageError)
    assert "resume 0123456789ab" in str(error)


async def test_a_path_that_refuses_says_which_paid_video_it_is_about(
    scripted: Script, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    _, client = scripted(site(video()))
    with pytest.raises(StorageError, match="resume 0123456789ab") as caught:
        await download(KITE, client, tmp_path / "file" / "kite.mp4")
    assert (caught.value.paid, caught.value.video_id) == ("yes", "video_1")


async def test_a_still_that_cannot_be_written_does_not_fail_a_render(
    scripted: Script, disk: Ledger
) -> None:
    await disk.store.put(f"{KITE.folder}/thumbnail.webp/x", b"a folder in the way")
    _, client = scripted(site(video()))
    stored = await keep(KITE, client, disk)
    assert (stored.thumbnail_url, bool(stored.preview_url)) == (None, True)
