"""Library: what a server holds is listed whole, and deleted only where nothing is lost by it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import httpx2
import pytest

from prefect_sora import OpenAICredentials, cancel_video
from prefect_sora.errors import InvalidRequestError, VideoNotFoundError
from prefect_sora.handles import StoredVideo
from prefect_sora.renders.characters import create_character
from prefect_sora.renders.finish.cancel import cancel
from prefect_sora.renders.finish.downloads import download_still
from prefect_sora.renders.finish.keep import keep
from prefect_sora.renders.finish.stills import Still
from prefect_sora.renders.recovery.clean_up import clean, look
from prefect_sora.servers.profiles import LOCAL
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.listing import every_video
from prefect_sora.servers.server import Server
from prefect_sora.store.ledger import Ledger
from tests.support.renderer import Renderer
from tests.support.renders import clip, go, render
from tests.support.scripted import Script, Scripted


class Lacking(Protocol):
    """What the `lacking` fixture gives."""

    def __call__(self, **profile: Any) -> VideoClient:
        """Connect to the local renderer as to a server that can do less."""


@pytest.fixture
async def lacking(server: Server) -> AsyncIterator[Lacking]:
    made: list[VideoClient] = []

    def connect(**profile: Any) -> VideoClient:
        made.append(VideoClient(replace(server, profile=LOCAL.model_copy(update=profile))))
        return made[-1]

    yield connect
    for client in made:
        await client.close()


async def ids(client: VideoClient, **options: int) -> list[str]:
    return [video.id async for video in every_video(client, **options)]  # type: ignore[arg-type]


async def test_all_pages_are_listed_the_newest_first(
    client: VideoClient, renderer: Renderer
) -> None:
    made = [renderer.create(f"kite {n}")["id"] for n in range(7)]
    assert await ids(client, page_size=3) == made[::-1]
    assert len(renderer.requests("list")) == 3


@pytest.mark.parametrize(
    "hidden",
    [("has_more",), ("last_id", "first_id"), ("has_more", "last_id", "first_id")],
    ids=" and ".join,
)
async def test_pages_that_do_not_say_how_they_go_on_are_followed_all_the_same(
    scripted: Script, hidden: tuple[str, ...]
) -> None:
    jobs = [f"video_{n}" for n in range(5)]

    def answer(method: str, path: str, body: bytes) -> tuple[int, dict[str, str], object]:
        after = httpx2.URL(path).params.get("after")
        start = jobs.index(after) + 1 if after else 0
        page = jobs[start : start + 2]
        whole = {
            "object": "list",
            "data": [{"id": one, "status": "completed"} for one in page],
            "first_id": page[0] if page else None,
            "last_id": page[-1] if page else None,
            "has_more": start + 2 < len(jobs),
        }
        return 200, {}, {name: value for name, value in whole.items() if name not in hidden}

    _, client = scripted(answer)
    assert await ids(client, page_size=2) == jobs


async def test_a_server_that_shows_everything_on_each_page_is_read_once(
    scripted: Script,
) -> None:
    everything = {"data": [{"id": f"video_{n}", "status": "queued"} for n in range(3)]}
    server, client = scripted(lambda *_: (200, {}, everything))
    assert await ids(client) == ["video_0", "video_1", "video_2"]
    assert len(asked(server)) == 2


def asked(server: Scripted) -> list[object]:
    return list(server.asked("GET", "/videos"))


async def test_a_server_without_a_list_is_told_before_it_is_asked(
    lacking: Lacking, renderer: Renderer
) -> None:
    with pytest.raises(InvalidRequestError, match="does not list"):
        await ids(lacking(can_list=False))
    assert renderer.requests("list") == []


async def test_a_job_that_renders_is_cancelled_and_may_be_submitted_anew(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "do": "stall"}])
    job = await go(client, disk)
    await cancel(job, client, disk)
    assert renderer.counts()["queued"] + renderer.counts()["rendering"] == 0
    assert (await go(client, disk)).video_id != job.video_id


async def test_a_job_is_cancelled_by_its_key_or_by_the_servers_id(
    disk: Ledger, renderer: Renderer
) -> None:
    provider, store = OpenAICredentials(base_url=renderer.base_url), disk.store.root
    client = await provider.get_client()
    for word in ("key", "video_id"):
        renderer.faults([{"on": "create", "do": "stall"}])
        job = await go(client, disk)
        await cancel_video.fn(getattr(job, word), provider, store)
        assert (await disk.state(job.folder)).failed
    assert len(renderer.requests("delete")) == 2
    with pytest.raises(InvalidRequestError, match=r"No render of this store has the job video_x"):
        await cancel_video.fn("video_x", provider, store)


async def test_a_finished_job_is_not_cancelled_for_it_is_paid_for(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    job = await go(client, disk)
    renderer.finished(job.video_id)
    with pytest.raises(InvalidRequestError, match=f"resume {job.key}"):
        await cancel(job, client, disk)
    assert (await keep(job, client, disk)).video_id == job.video_id


async def test_a_server_that_renders_on_is_not_asked_to_cancel(
    lacking: Lacking, client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    job = await go(client, disk)
    with pytest.raises(InvalidRequestError, match="cannot stop a render"):
        await cancel(job, lacking(delete_stops=False), disk)
    assert renderer.requests("delete") == []


async def kept(client: VideoClient, ledger: Ledger, prompt: str) -> StoredVideo:
    return await render(clip(prompt=prompt), client, ledger, "tonight", poll_interval_seconds=0.05)


async def test_a_clean_up_deletes_what_the_store_has_whole_and_nothing_else(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    whole, cut, unrecorded = [await kept(client, disk, name) for name in ("a", "b", "c")]
    strange = renderer.create("nobody's")["id"]
    renderer.finished(strange)
    paid = await go(client, disk, clip(prompt="not kept yet"))
    renderer.finished(paid.video_id)
    root = Path(disk.store.root)
    (root / cut.folder / "video.mp4").write_bytes(b"cut")
    (root / unrecorded.folder / "stored.json").unlink()

    found = await look(client, disk, older_than_seconds=0)
    verdicts = {one.video.video_id: one.verdict for one in found}
    assert verdicts == {
        whole.video_id: "kept",
        cut.video_id: "not kept",
        unrecorded.video_id: "not kept",
        strange: "not kept",
        paid.video_id: "not kept",
    }
    assert renderer.requests("delete") == []

    await clean(found, client)
    assert set(await ids(client)) == verdicts.keys() - {whole.video_id}


async def test_what_is_young_is_left_alone(client: VideoClient, disk: Ledger) -> None:
    await kept(client, disk, "a kite")
    [young] = await look(client, disk, older_than_seconds=3600)
    assert young.verdict == "too young"


async def test_one_that_cannot_be_deleted_stops_no_other(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    for name in ("a", "b"):
        await kept(client, disk, name)
    renderer.faults([{"on": "delete", "do": "status:500"}])
    ended = await clean(await look(client, disk, 0), client)
    assert sorted(one.verdict for one in ended) == ["deleted", "failed"]


@pytest.mark.parametrize(
    ("variant", "magic", "suffix"),
    [("thumbnail", b"RIFF", ".webp"), ("spritesheet", b"\xff\xd8", ".jpg")],
)
@pytest.mark.parametrize("has_it", [True, False], ids=["the server's", "drawn"])
async def test_a_still_has_the_suffix_of_its_content(
    lacking: Lacking,
    client: VideoClient,
    disk: Ledger,
    renderer: Renderer,
    tmp_path: Path,
    variant: Still,
    magic: bytes,
    suffix: str,
    has_it: bool,
) -> None:
    job = await go(client, disk)
    renderer.finished(job.video_id)
    if not has_it:
        client = lacking(variants=frozenset())
    path = await download_still(job, client, tmp_path / "still.png", variant)
    assert path == tmp_path / f"still{suffix}"
    assert path.read_bytes().startswith(magic)
    assert len(renderer.requests("content")) == 1


async def test_a_character_is_made_once_and_appears_in_a_render(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    video = await kept(client, disk, "a fox")
    fox = await create_character("Fox", video, client, disk)
    assert await create_character("Fox", video, client, disk) == fox
    assert len(renderer.requests("characters")) == 1
    assert await client.character(fox.id) == fox
    job = await go(client, disk, clip(prompt="Fox by a lake", characters=(fox.id,)))
    assert renderer.finished(job.video_id)["status"] == "completed"


async def test_a_character_of_nothing_is_refused_before_it_is_sent(
    client: VideoClient, disk: Ledger, renderer: Renderer, tmp_path: Path
) -> None:
    (tmp_path / "page.mp4").write_text("<html>")
    for name, video, said in (
        ("", "fox.mp4", "1 to 80"),
        ("Fox", "nowhere.mp4", "cannot be read"),
        ("Fox", tmp_path / "page.mp4", "no MP4"),
    ):
        with pytest.raises(InvalidRequestError, match=said):
            await create_character(name, video, client, disk)
    assert renderer.requests() == []


async def test_a_character_that_is_not_there_is_named(client: VideoClient) -> None:
    with pytest.raises(VideoNotFoundError):
        await client.character("char_nobody")
