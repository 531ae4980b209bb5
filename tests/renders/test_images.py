"""Images: a picture is paid once, whoever asks for it, however often, and kept whole."""

import asyncio
import base64
import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import SecretStr

from prefect_sora.errors import (
    AuthenticationError,
    BudgetExceededError,
    InvalidRequestError,
    ModerationError,
    QuotaError,
    ReferenceImageError,
    RejectedError,
    RenderFailedError,
    SoraError,
    StorageError,
    UnavailableError,
    UncertainSubmitError,
)
from prefect_sora.handles import StoredImage
from prefect_sora.renders.images.prepare import PreparedPictures, identify
from prefect_sora.renders.images.resume import resume
from prefect_sora.renders.images.submit import draw
from prefect_sora.renders.recovery.sweep import Swept, sweep
from prefect_sora.renders.submit.options import Budget, RenderOptions
from prefect_sora.requests.image import ImageRequest
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import remote
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import RenderState
from prefect_sora.store.server_turns import PassedOnError, pass_on
from tests.support.limits import Limit
from tests.support.processes import Forked
from tests.support.renderer import Renderer, StartRenderer, until
from tests.support.renders import a_dead_process
from tests.support.scripted import Answer, Reply, Script


def lantern(**fields: Any) -> ImageRequest:
    return ImageRequest.of(
        **{"prompt": "a paper lantern", "model": None, "size": "64x48", **fields}
    )


async def prepare_one(
    client: VideoClient, request: ImageRequest | None = None, scope: str = "tonight"
) -> PreparedPictures:
    return await identify(request or lantern(), client.server, scope)


async def drawn(
    client: VideoClient,
    ledger: Ledger,
    request: ImageRequest | None = None,
    scope: str = "tonight",
    **options: Any,
) -> StoredImage:
    """Have pictures drawn, as every run of it does."""
    prepared = await prepare_one(client, request, scope)
    return await draw(prepared, client, ledger, RenderOptions(scope, **options))


async def opened(ledger: Ledger, image: StoredImage, number: int = 0) -> Image.Image:
    data = await ledger.store.read(f"{image.folder}/{image.files[number].name}")
    assert data is not None
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


async def left_in_doubt(
    client: VideoClient, ledger: Ledger, request: ImageRequest | None = None
) -> RenderState:
    """Leave a reservation as a worker that died before its record does."""
    prepared = await prepare_one(client, request)
    record = prepared.reservation(client.server, 1, 300).model_copy(
        update={"owner": a_dead_process()}
    )
    assert await ledger.reserve(prepared.folder, record)
    ledger.release(record)
    return await ledger.state(prepared.folder)


def images(renderer: Renderer) -> int:
    """How many requests for pictures were ever accepted: what would have been paid."""
    return renderer.counts()["images"]


def png(size: tuple[int, int] = (32, 32), colour: Any = (200, 60, 40), mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, "PNG")
    return file.getvalue()


async def test_a_picture_is_kept_with_its_record(
    client: VideoClient, ledger: Ledger, renderer: Renderer
) -> None:
    image = await drawn(client, ledger)

    assert (image.width, image.height, image.format, image.has_alpha) == (64, 48, "png", False)
    assert image.folder == f"a-paper-lantern-{image.key}"
    assert image.url.endswith(f"{image.folder}/image.png")
    assert (await opened(ledger, image)).size == (64, 48)
    assert sorted(await ledger.store.names(image.folder)) == [
        "image.png",
        "reserved.json",
        "stored.json",
        "thumbnail.webp",
    ]
    assert (await ledger.state(image.folder)).name == "stored"
    assert await ledger.unfinished() == []
    assert StoredImage.model_validate_json(image.model_dump_json()) == image
    assert len(image.model_dump_json()) < 1000
    assert images(renderer) == 1


async def test_the_same_request_in_the_same_scope_is_one_render(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    first = await drawn(client, disk)
    assert await drawn(client, disk) == first
    together = await asyncio.gather(*(drawn(client, disk, scope="many") for _ in range(5)))
    assert len({image.key for image in together}) == 1
    assert images(renderer) == 2


@pytest.mark.parametrize(
    ("change", "scope"),
    [
        ({"take": 2}, "tonight"),
        ({}, "tomorrow"),
        ({"prompt": "a fox"}, "tonight"),
        ({"background": "transparent"}, "tonight"),
        ({"images": (png(),)}, "tonight"),
        ({"images": (png(colour=(1, 2, 3)),)}, "tonight"),
    ],
    ids=["another take", "another scope", "another prompt", "no ground", "an edit", "another edit"],
)
async def test_what_differs_is_another_render(
    client: VideoClient, change: dict[str, Any], scope: str
) -> None:
    plain = {
        (await prepare_one(client)).key,
        (await prepare_one(client, lantern(images=(png(),)))).key,
    }
    other = (await prepare_one(client, lantern(**change), scope)).key
    assert (other in plain) == (change == {"images": (png(),)})


async def test_several_pictures_are_kept_side_by_side(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    image = await drawn(client, disk, lantern(n=3, output_format="webp"))

    assert [file.name for file in image.files] == ["image-1.webp", "image-2.webp", "image-3.webp"]
    assert [url.rpartition("/")[2] for url in image.urls] == [f.name for f in image.files]
    assert len({file.sha256 for file in image.files}) == 3
    assert {(await opened(disk, image, n)).format for n in range(3)} == {"WEBP"}
    assert images(renderer) == 1


async def test_a_transparent_picture_has_clear_pixels_in_the_file(
    client: VideoClient, disk: Ledger
) -> None:
    image = await drawn(client, disk, lantern(size="256x256", background="transparent"))
    opaque = await drawn(client, disk, lantern(size="256x256"))

    assert (image.has_alpha, opaque.has_alpha) == (True, False)
    picture = await opened(disk, image)
    assert (picture.format, picture.mode) == ("PNG", "RGBA")
    alpha = np.asarray(picture.getchannel("A"))
    assert alpha[:8].max() == alpha[:, -8:].max() == 0
    assert (alpha[100:110, 120:136] == 255).all()


async def test_pictures_that_are_answered_as_urls_are_fetched_and_no_url_is_written_down(
    client: VideoClient, disk: Ledger, renderer: Renderer, tmp_path: Path
) -> None:
    renderer.faults([{"on": "image_content", "do": "garbage"}])
    request = lantern(n=2, extra={"response_format": "url"})

    image = await drawn(client, disk, request)

    assert (await opened(disk, image, 1)).size == (64, 48)
    assert len(renderer.requests("image_content")) == 3
    assert images(renderer) == 1
    records = [*tmp_path.rglob("*.json")]
    assert records
    assert not any("/v1/images/" in path.read_text("utf-8") for path in records)


async def test_an_edit_sends_the_pictures_as_they_are_and_changes_them(
    client: VideoClient, disk: Ledger, renderer: Renderer, tmp_path: Path
) -> None:
    before = await drawn(client, disk, lantern(size="128x128", background="transparent"))
    mask = Image.new("RGBA", (128, 128), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 64, 128))
    mask.save(tmp_path / "mask.png")
    edit = ImageRequest.of(
        prompt="make it night",
        model=None,
        images=(before.url, png((40, 40))),
        mask=tmp_path / "mask.png",
    )

    after = await drawn(client, disk, edit)

    assert (after.width, after.height, after.has_alpha) == (128, 128, True)
    one = np.asarray(await opened(disk, before)).astype(int)
    other = np.asarray(await opened(disk, after)).astype(int)
    assert (one[:, :, 3] == other[:, :, 3]).all()  # it went there and back with its transparency
    changed = np.abs(one - other).sum(axis=2)
    assert changed[:, 64:].max() == 0
    assert changed[:, :64].max() > 60
    assert [entry["operation"] for entry in renderer.requests()] == ["images", "image_edits"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        pytest.param({"images": ("gone.png",)}, "does not exist", id="missing"),
        pytest.param({"images": (b"<html>",)}, "is no image", id="no image"),
        pytest.param({"images": (png()[:-20],)}, "damaged", id="cut"),
        pytest.param({"images": (png(),), "mask": png()}, "transparent pixels", id="a full mask"),
        pytest.param(
            {"images": (png(),), "mask": png((8, 8), (0, 0, 0, 0), "RGBA")},
            "another size",
            id="a mask of another size",
        ),
    ],
)
async def test_a_picture_that_cannot_be_edited_is_an_error_before_anything_is_sent(
    client: VideoClient, disk: Ledger, renderer: Renderer, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(ReferenceImageError, match=said) as caught:
        await drawn(client, disk, lantern(**fields))
    assert caught.value.paid == "no"
    assert renderer.requests() == []


LOST = [
    pytest.param("drop_after", id="no answer"),
    pytest.param("cut:500", id="half an answer"),
    pytest.param("garbage", id="an answer that is none"),
    pytest.param("html", id="a gateway's page"),
    pytest.param("status:502", id="a gateway's error"),
    pytest.param("status:504", id="a gateway's timeout"),
    pytest.param("delay_after:30", id="an answer too late"),
]


@pytest.mark.parametrize("fault", LOST)
async def test_a_lost_answer_is_a_doubt_and_nothing_is_sent_again(
    client: VideoClient, disk: Ledger, renderer: Renderer, fault: str
) -> None:
    renderer.faults([{"on": "images", "do": fault}])

    for _ in range(2):
        with pytest.raises(UncertainSubmitError) as caught:
            await drawn(client, disk, timeout_seconds=0.5)
        assert caught.value.paid == "unknown"
        command = f"`prefect-sora resume {caught.value.key} --resubmit --store {disk.place}`"
        assert command in str(caught.value)
    assert len(renderer.requests("images")) == 1


@pytest.mark.parametrize("fault", LOST)
async def test_a_lost_answer_is_paid_again_once_where_the_policy_says_so(
    client: VideoClient, disk: Ledger, renderer: Renderer, fault: str
) -> None:
    renderer.faults([{"on": "images", "do": fault, "times": 2}])

    with pytest.raises(UncertainSubmitError):
        await drawn(client, disk, timeout_seconds=0.5, in_doubt="resubmit")
    assert len(renderer.requests("images")) == 2
    image = await drawn(client, disk, in_doubt="resubmit")
    assert (image.attempt, image.files[0].name) == (3, "image.attempt-3.png")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param("status:400", RejectedError, id="a bad request"),
        pytest.param("status:401", AuthenticationError, id="a wrong key"),
        pytest.param("status:429:insufficient_quota", QuotaError, id="no credit"),
        pytest.param("status:404", RejectedError, id="no images there"),
    ],
)
async def test_a_refusal_closes_the_attempt_and_the_next_run_sends_anew(
    client: VideoClient, disk: Ledger, renderer: Renderer, fault: str, error: type[SoraError]
) -> None:
    renderer.faults([{"on": "images", "do": fault}])

    with pytest.raises(error) as caught:
        await drawn(client, disk)
    assert caught.value.paid == "no"
    assert caught.value.key
    assert (await drawn(client, disk)).attempt == 2
    assert images(renderer) == 1


async def test_moderation_is_final(client: VideoClient, disk: Ledger, renderer: Renderer) -> None:
    renderer.faults([{"on": "images", "do": "status:400:moderation_blocked"}])
    for _ in range(2):
        with pytest.raises(ModerationError):
            await drawn(client, disk)
    assert len(renderer.requests("images")) == 1


async def test_a_server_that_fails_and_says_so_is_asked_again_by_the_next_run(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    renderer.faults([{"on": "images", "do": "status:500"}])
    with pytest.raises(RenderFailedError) as caught:
        await drawn(client, disk)
    assert caught.value.paid == "unknown"
    assert (await drawn(client, disk)).attempt == 2


async def test_a_busy_server_is_left_alone_and_asked_again(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    busy = {"on": "images", "do": "status:429", "headers": {"Retry-After": "0.1"}}
    renderer.faults([{**busy, "times": 2}])
    assert (await drawn(client, disk)).attempt == 3
    renderer.faults([{**busy, "headers": {"Retry-After": "99"}}])
    with pytest.raises(SoraError, match="429"):
        await drawn(client, disk, scope="another", timeout_seconds=1)


@pytest.mark.slow
async def test_a_server_that_is_not_there_was_sent_nothing(disk: Ledger) -> None:
    client = VideoClient(remote("http://127.0.0.1:9/v1"))
    with pytest.raises(UnavailableError) as caught:
        await drawn(client, disk)
    await client.close()
    assert caught.value.never_sent
    assert caught.value.paid == "no"


async def test_a_worker_that_died_while_it_asked_leaves_a_doubt_for_a_person(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    state = await left_in_doubt(client, disk)

    for action in (drawn(client, disk), resume(state, client, disk)):
        with pytest.raises(UncertainSubmitError, match="nobody can tell"):
            await action
    assert renderer.requests() == []
    image = await resume(state, client, disk, resubmit=True)
    assert (image.attempt, images(renderer)) == (2, 1)
    assert await drawn(client, disk) == image
    assert await resume(await disk.state(state.folder), client, disk) == image


async def test_one_call_pays_again_once_for_a_doubt_of_before_too(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    await left_in_doubt(client, disk)
    renderer.faults([{"on": "images", "do": "drop_after"}])
    with pytest.raises(UncertainSubmitError):
        await drawn(client, disk, in_doubt="resubmit")
    assert len(renderer.requests("images")) == 1


@pytest.mark.parametrize("count", [1, 3])
async def test_pictures_that_a_dead_worker_kept_without_a_record_are_recorded_and_not_paid_again(
    client: VideoClient, disk: Ledger, renderer: Renderer, count: int
) -> None:
    request = lantern(n=count)
    state = await left_in_doubt(client, disk, request)
    names = ["image.png"] if count == 1 else [f"image-{n}.png" for n in range(1, count + 1)]
    for name in names[:-1]:
        await disk.store.put(f"{state.folder}/{name}", png())
    with pytest.raises(UncertainSubmitError):  # the last one is missing
        await drawn(client, disk, request)
    await disk.store.put(f"{state.folder}/{names[-1]}", png()[:-20])  # as no store leaves it
    with pytest.raises(UncertainSubmitError):
        await drawn(client, disk, request)
    await disk.store.put(f"{state.folder}/{names[-1]}", png((16, 16)))

    image = await drawn(client, disk, request)

    assert [file.name for file in image.files] == names
    assert (await disk.state(state.folder)).name == "stored"
    assert renderer.requests() == []


async def test_a_torn_reservation_is_a_doubt(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    prepared = await prepare_one(client)
    await disk.store.put(f"{prepared.folder}/reserved.json", b'{"key": "')
    with pytest.raises(UncertainSubmitError):
        await drawn(client, disk)
    assert renderer.requests() == []


WORKER = """
import asyncio, sys
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.renders.images.submit import draw
from prefect_sora.requests.image import ImageRequest
from prefect_sora.renders.images.prepare import identify
from prefect_sora.store.ledger import Ledger
from prefect_sora.servers.profiles import LOCAL
from prefect_sora.servers.server import Server
from prefect_sora.renders.submit.options import RenderOptions
from prefect_sora.store.backends import VideoFolder

async def main(base_url, store):
    server = Server(base_url, identity="test", label="test", profile=LOCAL, local=True)
    request = ImageRequest.of(prompt="a paper lantern", model=None, size="64x48")
    client = VideoClient(server)
    prepared = await identify(request, server, "tonight")
    await draw(prepared, client, Ledger(VideoFolder(store)), RenderOptions("tonight"))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_worker_that_is_killed_while_the_server_draws_is_never_paid_for_in_silence(
    start_renderer: StartRenderer, disk: Ledger
) -> None:
    slow = start_renderer(min_render_seconds=60)
    worker = Forked(["-c", WORKER, slow.base_url, disk.store.root])
    await asyncio.to_thread(until, lambda: images(slow) == 1, "the server draws", 60)
    worker.kill()
    worker.wait()

    client = VideoClient(remote(slow.base_url))
    (state,) = await disk.unfinished()
    with pytest.raises(UncertainSubmitError):
        await resume(state, _as_test(client), disk)
    await client.close()
    assert images(slow) == 1


def _as_test(client: VideoClient) -> VideoClient:
    """The same client, of the server that the worker named."""
    object.__setattr__(client.server, "identity", "test")
    return client


async def test_a_caller_that_is_cancelled_still_keeps_what_it_pays_for(
    start_renderer: StartRenderer, disk: Ledger
) -> None:
    slow = start_renderer(min_render_seconds=0.5)
    client = VideoClient(remote(slow.base_url))
    running = asyncio.create_task(drawn(client, disk))
    await asyncio.to_thread(until, lambda: images(slow) == 1, "the server draws")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert (await drawn(client, disk)).attempt == 1
    await client.close()
    assert images(slow) == 1


async def test_what_the_store_does_not_take_is_put_beside_it_and_the_error_says_where(
    client: VideoClient,
    disk: Ledger,
    renderer: Renderer,
    monkeypatch: pytest.MonkeyPatch,
    limit: Limit,
    tmp_path: Path,
) -> None:
    limit(record_pauses_seconds=[0.01])
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    prepared = await prepare_one(client)
    in_the_way = Path(disk.store.root) / prepared.folder / "image.png" / "a folder"
    in_the_way.mkdir(parents=True)

    with pytest.raises(StorageError) as caught:
        await drawn(client, disk)

    assert caught.value.paid == "yes"
    (rescued,) = tmp_path.glob("prefect-sora-*/image-1.png")
    assert str(rescued.parent) in str(caught.value)
    with Image.open(rescued) as picture:
        assert picture.size == (64, 48)


async def test_the_sweep_tells_pictures_in_doubt_and_records_those_that_are_whole(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    doubt = await left_in_doubt(client, disk)
    whole = await left_in_doubt(client, disk, lantern(prompt="a fox"))
    await disk.store.put(f"{whole.folder}/image.png", png())
    await drawn(client, disk, lantern(prompt="a hen"))

    async def client_of(_: RenderState) -> VideoClient:
        return client

    found: dict[str, Swept] = {one.title: one for one in await sweep(disk, client_of)}

    assert {t: one.outcome for t, one in found.items()} == {
        "a paper lantern": "in_doubt",
        "a fox": "kept",
    }
    assert f"resume {doubt.key} --resubmit" in str(found["a paper lantern"].error)
    assert found["a fox"].url == disk.store.url(f"{whole.folder}/image.png")
    assert images(renderer) == 1


async def test_an_edit_is_resubmitted_only_with_the_same_pictures(
    client: VideoClient, disk: Ledger, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png())
    by_path = await left_in_doubt(client, disk, lantern(images=(path,)))
    by_bytes = await left_in_doubt(client, disk, lantern(prompt="a fox", images=(png(),)))

    with pytest.raises(InvalidRequestError, match="records do not hold"):
        await resume(by_bytes, client, disk, resubmit=True)
    path.write_bytes(png(colour=(1, 2, 3)))
    with pytest.raises(InvalidRequestError, match="others than those"):
        await resume(by_path, client, disk, resubmit=True)
    path.write_bytes(png())
    assert (await resume(by_path, client, disk, resubmit=True)).attempt == 2


async def test_a_budget_lets_through_what_it_covers_and_a_retried_refusal_costs_nothing(
    renderer: Renderer, disk: Ledger
) -> None:
    server = remote(renderer.base_url, prices=(("painter", "*", 0.05),))
    client = VideoClient(server)
    renderer.faults([{"on": "images", "do": "status:429", "headers": {"Retry-After": "0"}}])
    results = await asyncio.gather(
        *(
            drawn(client, disk, lantern(model="painter", n=2, take=n), budget=Budget(0.3, None))
            for n in range(1, 7)
        ),
        return_exceptions=True,
    )
    await client.close()

    kept = [r for r in results if isinstance(r, StoredImage)]
    assert [image.cost_usd for image in kept] == [0.1] * 3
    assert sum(isinstance(r, BudgetExceededError) for r in results) == 3
    assert images(renderer) == 3


async def test_a_budget_and_no_known_price_send_nothing(renderer: Renderer, disk: Ledger) -> None:
    client = VideoClient(remote(renderer.base_url))
    with pytest.raises(InvalidRequestError, match="price of a picture"):
        await drawn(client, disk, budget=Budget(1.0, None))
    assert (await drawn(client, disk)).cost_usd is None
    await client.close()
    assert images(renderer) == 1


def answering(reply: Callable[[dict[str, Any]], Reply]) -> Answer:
    return lambda method, path, body: reply(json.loads(body)) if method == "POST" else None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param({"data": []}, "no picture", id="nothing"),
        pytest.param({"created": 1}, "not with pictures", id="no data"),
        pytest.param({"data": [{"revised_prompt": "x"}]}, "neither bytes nor", id="words alone"),
        pytest.param({"data": [{"b64_json": "!"}]}, "no picture|no base64", id="no base64"),
        pytest.param(
            {"data": [{"b64_json": base64.b64encode(b"<html>").decode()}]},
            "no picture",
            id="no image",
        ),
        pytest.param(
            {"data": [{"b64_json": base64.b64encode(png()[:-20]).decode()}]}, "cut", id="cut"
        ),
    ],
)
async def test_an_answer_without_a_whole_picture_is_a_doubt(
    scripted: Script, disk: Ledger, body: dict[str, Any], said: str
) -> None:
    server, client = scripted(answering(lambda _: (200, {}, body)))
    for _ in range(2):
        with pytest.raises(UncertainSubmitError) as caught:
            await drawn(client, disk)
    assert server.posts() == 1
    assert caught.value.paid == "unknown"


async def test_each_request_says_once_what_was_asked_and_who_asks(
    scripted: Script, disk: Ledger
) -> None:
    reply = {"data": [{"b64_json": base64.b64encode(png()).decode()}], "unknown": {"field": 1}}
    server, client = scripted(
        answering(lambda _: (200, {}, reply)),
        api_key=SecretStr("sk-canary"),
        query=(("api-version", "v1"),),
    )
    request = ImageRequest.of(
        prompt="a fox", model="gpt-image-1.5", size="1024x1024", quality="low", extra={"user": "me"}
    )
    await drawn(client, disk, request)
    await drawn(client, disk, ImageRequest.of(prompt="a fox", model="dall-e-3", style="vivid"))

    first, other = server.seen
    assert first.path == "/v1/images/generations?api-version=v1"
    assert first.headers["authorization"] == "Bearer sk-canary"
    assert first.headers["idempotency-key"].endswith("-1")
    assert json.loads(first.body) == {
        "prompt": "a fox",
        "model": "gpt-image-1.5",
        "size": "1024x1024",
        "quality": "low",
        "user": "me",
    }
    assert json.loads(other.body) == {
        "prompt": "a fox",
        "model": "dall-e-3",
        "style": "vivid",
        "response_format": "b64_json",
    }
    told = [p for p in Path(disk.store.root).rglob("*") if p.is_file()]
    assert not [p for p in told if b"sk-canary" in p.read_bytes()]


async def test_a_url_elsewhere_is_fetched_without_our_key(
    scripted: Script, disk: Ledger, renderer: Renderer
) -> None:
    elsewhere, _ = scripted(lambda method, path, body: (200, {"Content-Type": "image/png"}, png()))
    signed = f"{elsewhere.root}/a.png?signature=secret"
    _server, client = scripted(
        answering(lambda _: (200, {}, {"data": [{"url": signed}]})), api_key=SecretStr("sk-canary")
    )

    image = await drawn(client, disk)

    assert (image.width, image.height) == (32, 32)
    (asked,) = elsewhere.seen
    assert "authorization" not in asked.headers


async def test_an_answer_that_drips_ends_at_the_deadline(disk: Ledger) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while not gone.is_set():
                writer.write(b" ")
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(gone.wait(), 0.05)
        writer.close()
        ended.set()

    gone, ended = asyncio.Event(), asyncio.Event()

    async with await asyncio.start_server(drip, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        client = VideoClient(remote(f"http://127.0.0.1:{port}/v1"))
        with pytest.raises(UncertainSubmitError, match=r"within 0\.4 s"):
            async with asyncio.timeout(5):
                await drawn(client, disk, timeout_seconds=0.4)
        await client.close()
        gone.set()
        await ended.wait()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
async def test_a_picture_to_change_goes_as_it_is_where_the_protocol_takes_its_kind(
    scripted: Script, disk: Ledger, kind: str
) -> None:
    file = io.BytesIO()
    Image.effect_noise((32, 32), 50).convert("RGB").save(file, kind)
    reply = {"data": [{"b64_json": base64.b64encode(png()).decode()}]}
    server, client = scripted(lambda method, path, body: (200, {}, reply))

    await drawn(client, disk, lantern(images=(file.getvalue(),)))

    (asked,) = server.seen
    assert (file.getvalue() in asked.body) == (kind != "BMP")
    assert (b"\x89PNG" in asked.body) == (kind in ("PNG", "BMP"))
    assert b'name="image"' in asked.body


async def test_a_server_that_repeats_the_key_is_not_quoted(scripted: Script, disk: Ledger) -> None:
    said = {"error": {"message": "Wrong key sk-canary", "code": "invalid_api_key"}}
    _, client = scripted(answering(lambda _: (401, {}, said)), api_key=SecretStr("sk-canary"))
    with pytest.raises(AuthenticationError) as caught:
        await drawn(client, disk)
    assert "sk-canary" not in str(caught.value)


async def test_once_passed_on_no_other_worker_can_have_it_drawn_there(
    client: VideoClient, ledger: Ledger, renderer: Renderer
) -> None:
    renderer.faults([{"on": "images", "do": "status:400"}])
    prepared = await prepare_one(client)
    with pytest.raises(RejectedError):
        await draw(prepared, client, ledger, RenderOptions("tonight"))
    assert await pass_on(prepared.folder, ledger)
    with pytest.raises(PassedOnError):
        await draw(prepared, client, ledger, RenderOptions("tonight"), passed_on_after=0)
    assert images(renderer) == 0
