"""Receiver: what is signed brings its render home, and what is not does nothing at all."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from prefect_sora.errors import InvalidRequestError
from prefect_sora.renders.recovery.webhooks.receiver import WebhookReceiver
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import Server
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from tests.support.limits import Limit
from tests.support.renderer import Renderer
from tests.support.renders import clip, go, left_in_doubt
from tests.support.webhooks import OLD_SECRET, SECRET, Sent, post, standard, webhooks


@pytest.fixture
async def receiver(disk: Ledger, server: Server) -> AsyncIterator[WebhookReceiver]:
    """A receiver for the local renderer, with the secret that takes over and the one before."""
    server = replace(server, webhooks=webhooks(SECRET, OLD_SECRET))
    receiver = WebhookReceiver([disk.store], [server])
    yield receiver
    await receiver.close()


async def eventually(condition: Callable[[], Any], what: str) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(15):
        while not await condition():  # noqa: ASYNC110 - what is waited for is in a store
            await asyncio.sleep(0.02)


async def home(ledger: Ledger, folder: str) -> None:
    """Wait until a render is kept."""

    async def kept() -> bool:
        return await ledger.is_kept(folder, 1)

    await eventually(kept, "it is home")


async def recorded(ledger: Ledger) -> list[str]:
    """The webhooks that the store holds."""
    return await ledger.store.names(".webhooks")


async def test_a_finished_render_comes_home_with_nobody_waiting(
    receiver: WebhookReceiver, client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    job = await go(client, disk)
    renderer.finished(job.video_id)
    assert await post(receiver, standard(job.video_id)) == 204
    await home(disk, job.folder)
    assert renderer.accepted() == 1


@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET])
async def test_each_secret_of_a_rotation_is_good(receiver: WebhookReceiver, secret: str) -> None:
    assert await post(receiver, standard(secret=secret)) == 204


async def test_a_payload_is_not_believed_the_server_is_asked(
    receiver: WebhookReceiver, client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    job = await go(client, disk)
    renderer.finished(job.video_id)
    assert await post(receiver, standard(job.video_id, "video.failed")) == 204
    await home(disk, job.folder)


async def test_a_failed_job_closes_its_render(
    receiver: WebhookReceiver, client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "do": "fail"}])
    job = await go(client, disk)
    renderer.finished(job.video_id)
    assert await post(receiver, standard(job.video_id, "video.failed")) == 204

    async def closed() -> bool:
        return await disk.closed(job.folder, 1) is not None

    await eventually(closed, "it is closed")


async def test_an_event_that_comes_too_early_changes_nothing(
    receiver: WebhookReceiver, client: VideoClient, disk: Ledger, renderer: Renderer, limit: Limit
) -> None:
    limit(webhook_wait_seconds=0.2)
    renderer.faults([{"on": "create", "do": "stall"}])
    job = await go(client, disk)
    assert await post(receiver, standard(job.video_id)) == 204

    async def asked() -> bool:
        return bool(renderer.requests("retrieve"))

    await eventually(asked, "the server is asked")
    assert (await disk.state(job.folder)).name == "accepted"


async def test_an_event_before_its_renders_record_is_looked_for_again(
    receiver: WebhookReceiver, client: VideoClient, disk: Ledger, renderer: Renderer, limit: Limit
) -> None:
    limit(webhook_looks_seconds=[0.1, 0.5, 2.0])
    job = await go(client, Ledger(VideoFolder("memory://elsewhere")))
    renderer.finished(job.video_id)
    assert await post(receiver, standard(job.video_id)) == 204
    assert await recorded(disk) == []
    folder = await left_in_doubt(client, disk)
    await disk.claim(client.server.identity, job.video_id, folder[-12:])
    await home(disk, folder)


async def test_a_lost_create_of_a_server_that_lists_is_settled_by_its_event(
    receiver: WebhookReceiver, client: VideoClient, disk: Ledger, renderer: Renderer, limit: Limit
) -> None:
    limit(webhook_looks_seconds=[])
    folder = await left_in_doubt(client, disk)
    made = await client.submit(clip(), None, "the lost one's")
    renderer.finished(made.id)
    assert await post(receiver, standard(made.id)) == 204
    await home(disk, folder)
    assert renderer.accepted() == 1


async def test_a_thousand_doubled_ones_have_the_effect_of_one(
    receiver: WebhookReceiver, client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    job = await go(client, disk)
    renderer.finished(job.video_id)
    renderer.forget_requests()
    sent = standard(job.video_id)
    assert {*await asyncio.gather(*(post(receiver, sent) for _ in range(500)))} == {204}
    await home(disk, job.folder)
    asked = renderer.requests()
    assert {*await asyncio.gather(*(post(receiver, sent) for _ in range(500)))} == {204}
    await receiver.close()
    assert renderer.requests() == asked
    looks = [one for one in asked if one["operation"] in ("retrieve", "list")]
    files = [one for one in asked if one["operation"] == "content" and not one["query"]]
    assert (len(looks), len(files)) == (1, 1)
    assert len(await recorded(disk)) == 1


async def test_a_receiver_that_dies_before_it_answers_is_gone_on_with_by_the_next(
    receiver: WebhookReceiver, client: VideoClient, disk: Ledger, renderer: Renderer, server: Server
) -> None:
    renderer.faults([{"on": "retrieve", "do": "delay:30"}])
    job = await go(client, disk)

    async def dies(_: Any) -> None:
        raise ConnectionResetError

    sent = standard(job.video_id)
    await receiver.start()
    with pytest.raises(ConnectionResetError):
        await receiver(scope_of(sent), one_piece(sent.body), dies)
    assert len(await recorded(disk)) == 1
    await receiver.close()
    renderer.clear_faults()
    another = WebhookReceiver([disk.store], [replace(server, webhooks=webhooks())])
    await another.start()
    await home(disk, job.folder)
    assert await post(another, sent) == 204
    assert len(await recorded(disk)) == 1
    await another.close()


HOSTILE: dict[str, Callable[[], Sent]] = {
    "without a signature": lambda: Sent(standard().body, {}),
    "forged": lambda: standard(secret="whsec_Zm9yZ2VkIGJ5IHNvbWVib2R5"),
    "of another body": lambda: Sent(standard("video_2").body, standard("video_1").headers),
    "of another id": lambda: changed(standard(), "webhook-id", "evt_2"),
    "too old": lambda: standard(age=301),
    "from the future": lambda: standard(age=-302),
    "of no time": lambda: changed(standard(), "webhook-timestamp", "nan"),
    "of an endless time": lambda: changed(standard(), "webhook-timestamp", "9" * 400),
    "of bad base64": lambda: changed(standard(), "webhook-signature", "v1,%%%=A"),
    "of odd base64": lambda: changed(standard(), "webhook-signature", "v1,A"),
    "without a comma": lambda: changed(standard(), "webhook-signature", "v1"),
    "of another version": lambda: changed(standard(), "webhook-signature", "v1a,AAAA"),
    "of no ASCII": lambda: changed(standard(), "webhook-signature", "v1,\xe9"),
    "not UTF-8": lambda: Sent(b'{"type": "\xff\xfe"}', standard().headers),
    "no JSON, though signed": lambda: standard(body=b"kites"),
    "a list, though signed": lambda: standard(body=b"[]"),
    "deeply nested, though signed": lambda: standard(body=b"[" * 60_000),
    "a number without end, though signed": lambda: standard(body=b"1" * 60_000),
    "without a body": lambda: Sent(b"", standard().headers),
    "in the form of another server": lambda: Sent(
        standard().body, {"x-openrouter-signature": "t=1,v1=00"}
    ),
}


def changed(sent: Sent, header: str, value: str) -> Sent:
    """The same webhook with another header."""
    return Sent(sent.body, {**sent.headers, header: value})


@pytest.mark.parametrize("how", HOSTILE)
async def test_what_is_not_signed_here_and_now_is_refused(
    receiver: WebhookReceiver, how: str
) -> None:
    assert await post(receiver, HOSTILE[how]()) == 400


async def test_of_a_thousand_hostile_ones_none_is_accepted(
    receiver: WebhookReceiver, client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    job = await go(client, disk)
    renderer.finished(job.video_id)
    renderer.forget_requests()
    chance = random.Random(14)  # noqa: S311 - the same ones each time
    answers = set()
    for number in range(1_000):
        sent = standard(job.video_id, event_id=f"evt_{number}")
        body, headers = bytearray(sent.body), dict(sent.headers)
        match number % 4:
            case 0:
                body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
            case 1:
                name = chance.choice([*headers])
                place = chance.randrange(len(headers[name]) - 2)
                other = "x" if headers[name][place] != "x" else "y"
                headers[name] = headers[name][:place] + other + headers[name][place + 1 :]
            case 2:
                del headers[chance.choice([*headers])]
            case _:
                body = bytearray(chance.randbytes(chance.randrange(2_000)))
        answers.add(await post(receiver, Sent(bytes(body), headers)))
    assert answers == {400}
    assert await recorded(disk) == []
    assert renderer.requests() == []
    assert (await disk.state(job.folder)).name == "accepted"


OF_NO_USE: dict[str, Callable[[], Sent]] = {
    "an unknown video": lambda: standard("video_nobody_has"),
    "an unknown type": lambda: standard(kind="video.dreamt"),
    "another service's": lambda: standard(kind="response.completed"),
    "no data": lambda: standard(body=b'{"type": "video.completed"}'),
    "a number for an id": lambda: standard(body=b'{"type": "video.completed", "data": {"id": 7}}'),
}


@pytest.mark.parametrize("how", OF_NO_USE)
async def test_what_is_signed_and_of_no_use_is_answered_and_leaves_nothing(
    receiver: WebhookReceiver, how: str, disk: Ledger
) -> None:
    assert await post(receiver, OF_NO_USE[how]()) == 204
    assert await recorded(disk) == []


def scope_of(sent: Sent, **changes: Any) -> dict[str, Any]:
    """A request as a web server hands it on."""
    headers = [(name.encode(), value.encode()) for name, value in sent.headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
    return {**scope, **changes}


def one_piece(body: bytes) -> Any:
    """A body that arrives at once."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def status_of(receiver: WebhookReceiver, scope: Any, receive: Any) -> int:
    """The status of the answer to a request."""
    answers: list[Any] = []

    async def send(message: Any) -> None:
        answers.append(message)

    await receiver(scope, receive, send)
    status: int = answers[0]["status"]
    return status


async def test_a_hundred_megabytes_are_refused_unread(receiver: WebhookReceiver) -> None:
    async def receive() -> Any:
        pytest.fail("it was read")

    scope = scope_of(standard())
    scope["headers"].append((b"content-length", b"104857600"))
    assert await status_of(receiver, scope, receive) == 413


async def test_a_hundred_megabytes_of_no_told_length_are_not_read_to_their_end(
    receiver: WebhookReceiver,
) -> None:
    read = 0

    async def receive() -> Any:
        nonlocal read
        read += 16_384
        return {"type": "http.request", "body": b"x" * 16_384, "more_body": read < 100 << 20}

    assert await status_of(receiver, scope_of(standard()), receive) == 413
    assert read < 200_000


async def test_a_body_that_drips_is_not_waited_for(receiver: WebhookReceiver, limit: Limit) -> None:
    limit(webhook_seconds=0.1)

    async def receive() -> Any:
        await asyncio.sleep(0.03)
        return {"type": "http.request", "body": b"x", "more_body": True}

    assert await status_of(receiver, scope_of(standard()), receive) == 408


async def test_a_body_that_breaks_off_is_refused(receiver: WebhookReceiver) -> None:
    async def receive() -> Any:
        return {"type": "http.disconnect"}

    assert await status_of(receiver, scope_of(standard()), receive) == 400


async def test_webhooks_are_posted(receiver: WebhookReceiver) -> None:
    scope = scope_of(standard(), method="GET")
    assert await status_of(receiver, scope, one_piece(b"")) == 405


async def test_a_store_that_cannot_be_read_has_it_come_again(server: Server, tmp_path: Any) -> None:
    (tmp_path / "clips").write_text("a file")
    here = replace(server, webhooks=webhooks())
    receiver = WebhookReceiver([str(tmp_path / "clips")], [here])
    assert await post(receiver, standard()) == 503


async def test_it_starts_and_ends_with_a_web_server(receiver: WebhookReceiver) -> None:
    came = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    said: list[str] = []

    async def receive() -> Any:
        return next(came)

    async def send(message: Any) -> None:
        said.append(message["type"])

    await receiver({"type": "lifespan"}, receive, send)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_server_without_a_secret_is_refused(server: Server, disk: Ledger) -> None:
    with pytest.raises(InvalidRequestError, match="secret"):
        await WebhookReceiver([disk.store], [server]).start()


async def test_a_secret_that_is_no_base64_is_refused(server: Server, disk: Ledger) -> None:
    bad = replace(server, webhooks=webhooks("whsec_a"))
    with pytest.raises(InvalidRequestError, match="Standard Webhooks") as told:
        await WebhookReceiver([disk.store], [bad]).start()
    assert "whsec_a" not in str(told.value)


async def test_a_server_that_sends_none_is_refused(server: Server, disk: Ledger) -> None:
    silent = replace(server, profile=server.profile.model_copy(update={"webhook_scheme": None}))
    with pytest.raises(InvalidRequestError, match="sends no webhooks"):
        await WebhookReceiver([disk.store], [silent]).start()
