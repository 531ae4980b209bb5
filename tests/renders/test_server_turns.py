"""Courses: what a request stands for is found again, whatever servers and pictures do meanwhile."""

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from prefect_sora.errors import (
    InvalidRequestError,
    ReferenceImageError,
    RejectedError,
    UnavailableError,
    UncertainSubmitError,
)
from prefect_sora.handles import StoredImage, VideoJob
from prefect_sora.renders.fallback import on_the_first
from prefect_sora.renders.images.submit import AskedPictures
from prefect_sora.renders.submit.candidates import Way
from prefect_sora.renders.submit.options import RenderOptions
from prefect_sora.renders.submit.submit import AskedVideo
from prefect_sora.requests.image import ImageRequest
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.profiles import Profile
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import remote
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from tests.support.renderer import Renderer
from tests.support.renders import clip, go, left_in_doubt
from tests.support.scripted import QUICK, Jobs, Reply, Scripted

Servers = Callable[..., "There"]

FORM = json.dumps({"prompt": "a kite", "size": "64x64", "seconds": "1"}).encode()


class There:
    """A server that keeps its jobs, and may be down, or refuse."""

    def __init__(self, profile: Profile = QUICK, **jobs: Any) -> None:
        self.jobs = Jobs(**{"lose": 0, **jobs})
        self.http = Scripted(self.answer)
        self.server = remote(self.http.base_url, profile=profile)
        self.clients: list[VideoClient] = []
        self.down = False
        self.refusals = 0

    def answer(self, method: str, path: str, body: bytes) -> Reply:
        """Refuse as often as it was told to."""
        if method == "POST" and self.refusals:
            self.refusals -= 1
            return 400, {}, {"error": {"message": "not today", "type": "invalid_request_error"}}
        form = body.startswith(b"--")  # with a picture; of it the list shows nothing
        return self.jobs(method, path, FORM if form else body)

    @property
    def way(self) -> Way:
        """How it is connected to, as a provider whose profile is `auto` is."""

        async def connect() -> VideoClient:
            if self.down:
                raise UnavailableError("nobody answers", never_sent=True)
            self.clients.append(VideoClient(self.server))
            return self.clients[-1]

        return Way(self.server, connect)

    @property
    def accepted(self) -> int:
        """How many jobs it has."""
        return len(self.jobs.jobs)


@pytest.fixture
async def there() -> AsyncIterator[Servers]:
    """Start servers."""
    made: list[There] = []

    def start(**jobs: Any) -> There:
        made.append(There(**jobs))
        return made[-1]

    yield start
    for one in made:
        for client in one.clients:
            await client.close()
        one.http.stop()


class Gallery:
    """Pictures at a URL, which may be others each time, or gone."""

    def __init__(self) -> None:
        self.pictures: list[bytes | None] = [_png("red")]
        self.http = Scripted(self.answer)
        self.url = f"{self.http.root}/picture.png?sig=canary"

    def answer(self, method: str, path: str, body: bytes) -> Reply:
        """Show them in turn, the last of them for ever."""
        picture = self.pictures.pop(0) if len(self.pictures) > 1 else self.pictures[0]
        return (200, {}, picture) if picture else (404, {}, b"gone")

    def show(self, *colours: str | None) -> None:
        """Show other pictures from now on; None: there is none."""
        self.pictures = [_png(colour) if colour else None for colour in colours]


@pytest.fixture
def gallery(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("PREFECT_SORA_PRIVATE_HOSTS", "127.0.0.1")
    shown = Gallery()
    yield shown
    shown.http.stop()


def _png(colour: str) -> bytes:
    file = io.BytesIO()
    # A corner is clear, so that it is a mask, too.
    picture = Image.new("RGBA", (64, 64), colour)
    picture.putpixel((0, 0), (0, 0, 0, 0))
    picture.save(file, "PNG")
    return file.getvalue()


async def submitted(
    servers: list[There], ledger: Ledger, request: VideoRequest | None = None, **options: Any
) -> VideoJob:
    ways = [one.way for one in servers]
    asked = AskedVideo(request or clip(), ledger, RenderOptions("tonight", **options))
    return await on_the_first(ways, asked)


class _KilledError(BaseException):
    """The process ends here."""


class Mortal(VideoFolder):
    """A store whose process dies at its nth record, before or after it."""

    left: int | None = None
    after: bool = False

    async def create(self, name: str, data: bytes, *, blindly: bool = False) -> bool:
        """Die, or create."""
        counts = name.startswith((".written/", ".claims/", "a-kite-"))
        if Mortal.left is not None and counts:
            Mortal.left -= 1
        dies = Mortal.left == 0 and counts
        if dies and not Mortal.after:
            raise _KilledError
        created = await super().create(name, data, blindly=blindly)
        if dies:
            raise _KilledError
        return created


async def dying_at(nth: int, after: bool, servers: list[There], store: Path, **more: Any) -> bool:
    """Run once in a process that dies at its nth file; whether it came so far."""
    Mortal.left, Mortal.after = nth, after
    try:
        await submitted(servers, Ledger(Mortal(str(store))), **more)
    except _KilledError:
        return True
    finally:
        Mortal.left = None
    return False


# Several servers


async def test_what_the_second_has_accepted_is_found_once_the_first_is_back(
    there: Servers, disk: Ledger
) -> None:
    first, second = there(), there()
    first.down = True
    job = await submitted([first, second], disk)
    first.down = False
    assert await submitted([first, second], disk) == job
    assert (first.accepted, second.accepted) == (0, 1)


async def test_what_was_accepted_is_found_while_no_server_is_there(
    there: Servers, disk: Ledger
) -> None:
    first, second = there(), there()
    first.refusals = 1
    job = await submitted([first, second], disk)
    first.down = second.down = True
    assert await submitted([first, second], disk) == job


async def test_a_list_of_before_there_were_courses_is_found_where_it_went(
    there: Servers, disk: Ledger
) -> None:
    first, second = there(), there()
    job = await go(await second.way.connect(), disk)
    assert await submitted([first, second], disk) == job
    assert first.http.posts() == 0


async def test_a_doubt_at_the_second_is_settled_before_anything_is_sent_to_the_first(
    there: Servers, disk: Ledger
) -> None:
    first, second = there(), there(profile=QUICK.model_copy(update={"can_list": False}))
    await left_in_doubt(await second.way.connect(), disk)
    with pytest.raises(UncertainSubmitError):
        await submitted([first, second], disk)
    assert (first.http.posts(), second.http.posts()) == (0, 0)


async def test_of_two_doubts_both_are_settled_before_anything_is_sent(
    there: Servers, disk: Ledger
) -> None:
    first, second = there(), there(profile=QUICK.model_copy(update={"can_list": False}))
    for one in (first, second):
        await left_in_doubt(await one.way.connect(), disk)
    with pytest.raises(UncertainSubmitError):
        await submitted([first, second], disk)
    assert (first.http.posts(), second.http.posts()) == (0, 0)


@pytest.mark.parametrize("refusing", [(0, 0), (1, 0), (0, 1), (2, 2)])
async def test_workers_who_list_the_servers_in_another_order_pay_one_of_them(
    there: Servers, disk: Ledger, refusing: tuple[int, int]
) -> None:
    first, second = there(), there()
    first.refusals, second.refusals = refusing
    lists = [[first, second], [second, first]] * 4
    jobs = await asyncio.gather(*(submitted(each, disk) for each in lists), return_exceptions=True)
    accepted = {job.video_id for job in jobs if isinstance(job, VideoJob)}
    assert len(accepted) == first.accepted + second.accepted <= 1
    again = await submitted([second, first], disk)
    assert {again.video_id} >= accepted
    assert first.accepted + second.accepted == 1


async def test_where_the_last_refuses_too_the_first_is_asked_anew(
    there: Servers, disk: Ledger
) -> None:
    first, second = there(), there()
    first.down, second.refusals = True, 2
    with pytest.raises(RejectedError):
        await submitted([first, second], disk)
    first.down = False
    await submitted([first, second], disk)
    assert (first.accepted, second.accepted) == (1, 0)


async def test_a_server_that_is_no_longer_listed_is_not_paid_beside(
    there: Servers, disk: Ledger
) -> None:
    first, second, third = there(), there(), there()
    first.refusals = 1
    await submitted([first, second], disk)
    with pytest.raises(InvalidRequestError, match="none of the providers") as refused:
        await submitted([first, third], disk)
    assert refused.value.paid == "yes"
    assert (first.accepted, third.http.posts()) == (0, 0)


async def test_a_server_that_is_no_longer_listed_and_refused_is_forgotten(
    there: Servers, disk: Ledger
) -> None:
    first, second, third = there(), there(), there()
    first.refusals = second.refusals = 1
    with pytest.raises(RejectedError):
        await submitted([first, second], disk)
    assert (await submitted([third, first], disk)).provider == third.server.label


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before it", "after it"])
async def test_a_worker_that_dies_at_any_file_leaves_one_payment(
    there: Servers, tmp_path: Path, after: bool
) -> None:
    deaths = 0
    for nth in range(1, 20):
        first, second = there(), there()
        first.refusals, store = 1, tmp_path / f"{nth}"
        died = await dying_at(nth, after, [first, second], store)
        job = await submitted([first, second], Ledger(VideoFolder(str(store))))
        assert first.accepted + second.accepted == 1, nth
        assert job.video_id in {j["id"] for j in first.jobs.jobs + second.jobs.jobs}
        deaths += died
        if not died:
            break
    assert deaths >= 8  # turn, reserved, failed; passed on; turn, reserved, claim, accepted


async def test_a_single_server_and_no_picture_at_a_url_cost_no_further_file(
    there: Servers, disk: Ledger, tmp_path: Path
) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(_png("red"))
    await submitted([there()], disk, clip(reference=picture))
    assert not (Path(disk.place) / ".written").exists()


# Pictures at a URL


async def test_what_was_accepted_with_another_picture_is_found_and_said(
    there: Servers, disk: Ledger, gallery: Gallery, caplog: pytest.LogCaptureFixture
) -> None:
    server, request = there(), clip(reference=gallery.url)
    job = await submitted([server], disk, request)
    gallery.show("blue")
    with caplog.at_level(logging.WARNING):
        assert await submitted([server], disk, request) == job
    assert "has changed" in caplog.text
    assert "another take or scope" in caplog.text
    assert "canary" not in caplog.text
    assert server.http.posts() == 1


async def test_another_take_renders_the_new_picture(
    there: Servers, disk: Ledger, gallery: Gallery
) -> None:
    server = there()
    await submitted([server], disk, clip(reference=gallery.url))
    gallery.show("blue")
    await submitted([server], disk, clip(reference=gallery.url, take=2))
    assert server.http.posts() == 2


async def test_a_picture_that_is_gone_keeps_nothing_from_being_found(
    there: Servers, disk: Ledger, gallery: Gallery
) -> None:
    server, request = there(), clip(reference=gallery.url)
    job = await submitted([server], disk, request)
    gallery.show(None)
    assert await submitted([server], disk, request) == job
    with pytest.raises(ReferenceImageError):
        await submitted([server], disk, clip(reference=gallery.url, take=2))
    assert server.http.posts() == 1


@pytest.mark.slow
@pytest.mark.parametrize("then", ["blue", None], ids=["another", "gone"])
@pytest.mark.parametrize("after", [False, True], ids=["before it", "after it"])
async def test_a_worker_that_dies_at_any_file_and_a_picture_that_changes_are_one_payment(
    there: Servers, tmp_path: Path, gallery: Gallery, after: bool, then: str | None
) -> None:
    deaths = 0
    for nth in range(1, 9):
        server, request, store = there(), clip(reference=gallery.url), tmp_path / f"{nth}"
        gallery.show("red")
        deaths += await dying_at(nth, after, [server], store, request=request)
        gallery.show(then)
        begun = server.accepted
        try:
            await submitted([server], Ledger(VideoFolder(str(store))), request)
        except ReferenceImageError:  # nothing was accepted, and there is no picture to send
            assert (then, begun, server.accepted) == (None, 0, 0)
        else:
            assert server.accepted == 1
    assert deaths == 4  # turn, reserved, claim, accepted


async def test_what_was_refused_is_sent_anew_with_the_new_picture_and_found_by_it(
    there: Servers, disk: Ledger, gallery: Gallery
) -> None:
    server, request = there(), clip(reference=gallery.url)
    server.refusals = 1
    with pytest.raises(RejectedError):
        await submitted([server], disk, request)
    gallery.show("blue")
    job = await submitted([server], disk, request)
    gallery.show("red")  # back to what was refused: the newer is what the request stands for
    assert await submitted([server], disk, request) == job
    assert server.accepted == 1


async def test_workers_to_whom_a_url_gives_other_pictures_pay_once(
    there: Servers, disk: Ledger, gallery: Gallery
) -> None:
    server, request = there(), clip(reference=gallery.url)
    gallery.show("red", "green", "blue", "white", "black", "grey")
    jobs = await asyncio.gather(*(submitted([server], disk, request) for _ in range(6)))
    assert len({job.video_id for job in jobs}) == 1
    assert server.accepted == 1


async def test_a_doubt_with_another_picture_is_paid_again_where_the_policy_says_so(
    there: Servers, tmp_path: Path, gallery: Gallery
) -> None:
    server = there(profile=QUICK.model_copy(update={"can_list": False}))
    request, disk = clip(reference=gallery.url), Ledger(VideoFolder(str(tmp_path)))
    assert await dying_at(2, True, [server], tmp_path, request=request)
    gallery.show("blue")
    with pytest.raises(UncertainSubmitError):
        await submitted([server], disk, request)
    assert server.http.posts() == 0
    await submitted([server], disk, request, in_doubt="resubmit")
    assert server.http.posts() == 1


@pytest.mark.parametrize("of", ["the picture", "the mask"])
async def test_a_picture_to_change_that_changes_or_goes_is_paid_once(
    client: VideoClient, renderer: Renderer, disk: Ledger, gallery: Gallery, of: str
) -> None:
    async def connect() -> VideoClient:
        return client

    async def drawn() -> StoredImage:
        given: dict[str, Any] = {"picture": gallery.url, "mask": None}
        if of == "the mask":
            given = {"picture": _png("red"), "mask": gallery.url}
        request = ImageRequest(
            prompt="a kite",
            model=None,
            size="64x64",
            images=(given["picture"],),
            mask=given["mask"],
        )
        asked = AskedPictures(request, disk, RenderOptions("tonight"))
        return await on_the_first([Way(client.server, connect)], asked)

    image = await drawn()
    for then in ("blue", None):
        gallery.show(then)
        assert await drawn() == image
    assert renderer.counts()["images"] == 1


async def test_a_file_of_this_machine_that_was_edited_is_another_request(
    there: Servers, disk: Ledger, tmp_path: Path
) -> None:
    server, picture = there(), tmp_path / "picture.png"
    for colour in ("red", "blue"):
        picture.write_bytes(_png(colour))
        await submitted([server], disk, clip(reference=picture))
    assert server.http.posts() == 2


async def test_two_pictures_at_one_address_are_two_requests(
    there: Servers, disk: Ledger, gallery: Gallery
) -> None:
    server = there()
    await submitted([server], disk, clip(reference=f"{gallery.http.root}/picture.png?id=1"))
    gallery.show("blue")
    await submitted([server], disk, clip(reference=f"{gallery.http.root}/picture.png?id=2"))
    assert server.http.posts() == 2


async def test_the_password_in_a_url_is_in_no_file(
    there: Servers, disk: Ledger, gallery: Gallery
) -> None:
    with_password = gallery.url.replace("://", "://me:canary@")
    await submitted([there()], disk, clip(reference=with_password))
    files = [path for path in Path(disk.place).rglob("*") if path.is_file()]
    assert files
    assert not any(b"canary" in path.read_bytes() for path in files)
