"""Azure's addresses, deployments and tokens, as people write them; what says two things is told."""

import base64
import json
import runpy
from pathlib import Path
from time import time
from typing import Any

import pytest
from pydantic import SecretStr

from prefect_sora import AzureOpenAICredentials
from prefect_sora.cli import keys
from prefect_sora.errors import AuthenticationError, InvalidRequestError, RetiredModelError
from prefect_sora.renders.environment import named_provider
from prefect_sora.renders.images.prepare import identify as identify_picture
from prefect_sora.renders.images.submit import draw
from prefect_sora.renders.submit.options import Budget, RenderOptions
from prefect_sora.renders.submit.prepare import checked, prepared_of
from prefect_sora.requests.image import ImageRequest
from prefect_sora.requests.video import VideoRequest, derived, existing
from prefect_sora.servers.access.tokens import given_token
from prefect_sora.servers.estimates import price
from prefect_sora.servers.local.dialects.azure import entra_token
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import azure_server
from prefect_sora.store.ledger import Ledger
from tests.servers.test_azure import tiny_picture
from tests.support.renderer import StartRenderer
from tests.support.renders import clip, go, render
from tests.support.scripted import Reply, Script

HOST = "https://clips.openai.azure.com"
KEY = "azure-key-0123456789"


@pytest.mark.parametrize(
    ("endpoint", "base_url", "query", "deployments"),
    [
        pytest.param(
            f"{HOST}/openai/deployments/my-sora/videos?api-version=2025-04-01-preview",
            f"{HOST}/openai/v1",
            (),
            ("my-sora", None),
            id="as the portal shows it, whose date the v1 API does not take",
        ),
        pytest.param(
            f"{HOST}/openai/deployments/pictures/images/generations?api-version=preview",
            f"{HOST}/openai/v1",
            (("api-version", "preview"),),
            (None, "pictures"),
            id="of an image model",
        ),
        pytest.param(
            "https://gateway.example/team/openai/deployments/my%2Dsora/?api-version=2026-01-01",
            "https://gateway.example/team/openai/v1",
            (("api-version", "2026-01-01"),),
            ("my-sora", None),
            id="a gateway's",
        ),
        pytest.param(
            "https://gateway.example/?subscription-key=k&api-version=v1",
            "https://gateway.example/openai/v1",
            (("subscription-key", "k"), ("api-version", "v1")),
            (None, None),
            id="a gateway's own key",
        ),
        pytest.param(
            "https://openai.example/team",
            "https://openai.example/team/openai/v1",
            (),
            (None, None),
            id="a host that is called openai",
        ),
    ],
)
def test_an_endpoint_is_read_with_all_that_it_names(
    endpoint: str, base_url: str, query: Any, deployments: Any
) -> None:
    server = azure_server(endpoint)
    assert (server.base_url, server.query) == (base_url, query)
    assert (server.deployment, server.image_deployment) == deployments


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"endpoint": f"{HOST}?api-version=a&api-version=b"}, "several api-versions: a, b"),
        ({"deployment": "openai/sora-2"}, "'openai/sora-2' is no deployment's name"),
        ({"image_deployment": "my pictures"}, "'my pictures' is no deployment's name"),
        (
            {"endpoint": f"{HOST}/openai/deployments/one", "deployment": "two"},
            "names the deployment 'one', and deployment is 'two'",
        ),
        ({"api_key": KEY, "azure_ad_token": "t"}, "Both api_key and azure_ad_token are given"),
        ({"azure_ad_token": "t", "entra_id": True}, "Both azure_ad_token and entra_id are given"),
        ({"azure_ad_token": "two\nlines"}, "holds a character that no header can carry"),
    ],
    ids=[
        "two versions",
        "a slash",
        "a space",
        "two deployments",
        "a key and a token",
        "a token and an identity",
        "a token in two lines",
    ],
)
async def test_what_says_two_things_or_nothing_is_refused(fields: Any, said: str) -> None:
    block = AzureOpenAICredentials(**{"endpoint": HOST, **fields})
    with pytest.raises(InvalidRequestError, match=said) as caught:
        await block.get_server()
    assert caught.value.paid == "no"


class Deployments:
    """Two deployments of a resource, which keep what they were asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []

    def __call__(self, method: str, path: str, body: bytes) -> Reply:
        if method == "POST":
            kind = "picture" if "/images/" in path else "video"
            self.asked.append((kind, json.loads(body).get("model")))
        if "/images/" in path:
            return 200, {}, {"data": [{"b64_json": base64.b64encode(tiny_picture()).decode()}]}
        return 200, {}, {"id": "video_1", "status": "queued", "created_at": int(time())}


@pytest.mark.parametrize(
    ("names", "model", "drawn_by"),
    [
        ({"image_deployment": "my-pictures"}, "gpt-image-2", "my-pictures"),
        ({"image_deployment": "my-pictures"}, None, "my-pictures"),
        ({}, "gpt-image-2", "gpt-image-2"),
    ],
)
async def test_a_picture_goes_to_its_own_deployment_and_never_to_the_videos(
    scripted: Script, disk: Ledger, names: dict[str, Any], model: str | None, drawn_by: str
) -> None:
    deployments = Deployments()
    server, _ = scripted(deployments)
    client = VideoClient(azure_server(server.root, deployment="my-sora", **names))
    asked = ImageRequest.of(prompt="a lantern", model=model, size="1024x1024")
    picture = await identify_picture(asked, client.server, "tonight")
    await draw(picture, client, disk, RenderOptions("tonight"))
    await go(client, disk, clip(model="sora-2", allow_unlisted=True))
    await client.close()
    assert deployments.asked == [("picture", drawn_by), ("video", "my-sora")]
    assert picture.usd_each is None  # the video model's price is none of a picture


async def test_a_picture_of_no_model_is_not_sent_to_the_videos_deployment(disk: Ledger) -> None:
    server = azure_server(HOST, deployment="my-sora", prices=(("my-sora", "*", 0.1),))
    asked = ImageRequest.of(prompt="a lantern", model=None, size="1024x1024")
    with pytest.raises(InvalidRequestError, match="none for pictures"):
        await identify_picture(asked, server, "tonight")


async def test_the_image_deployment_tells_pictures_apart_and_no_videos() -> None:
    one = azure_server(HOST, deployment="my-sora", image_deployment="one")
    two = azure_server(HOST, deployment="my-sora", image_deployment="two")
    asked = ImageRequest.of(prompt="a lantern", model="gpt-image-2", size="1024x1024")
    keys_ = {(await identify_picture(asked, server, "t")).key for server in (one, two)}
    assert len(keys_) == 2
    assert len({prepared_of(clip(), server, "t", None).key for server in (one, two)}) == 1


def test_a_deployment_decides_its_model_so_that_no_end_of_one_refuses_it() -> None:
    asked = VideoRequest(prompt="a kite", model="sora-2", size="1280x720", seconds=4)

    def look(**names: Any) -> None:
        server = azure_server(HOST, **names)
        checked(prepared_of(asked, server, "t", None), server)

    look(deployment="my-sora")
    with pytest.raises(RetiredModelError):
        look()


@pytest.mark.parametrize("named", ["by its id", "brought home by its id", "by its clip"])
async def test_a_remix_of_a_deployments_clip_has_its_sources_price(
    start_renderer: StartRenderer, disk: Ledger, named: str
) -> None:
    renderer = start_renderer(dialect="azure", api_key=KEY, models="my-sora")
    server = azure_server(renderer.root, deployment="my-sora", api_key=SecretStr(KEY))
    client = VideoClient(server)
    asked = VideoRequest(prompt="a kite", model="sora-2", size="1280x720", seconds=4)
    source = await render(asked, client, disk, "t", poll_interval_seconds=0.05)
    assert source.cost_usd == 0.4
    if named == "brought home by its id":
        source = await render(existing(source.video_id), client, disk, "t")
    remix = derived("remix", "snow", source.video_id if named == "by its id" else source)
    assert price(remix, server, source).usd == 0.4
    job = await go(client, disk, remix, scope="t", budget=Budget(run_usd=1.0))
    await client.close()
    assert (job.cost_usd, job.model) == (0.4, "sora-2")


async def test_a_given_token_is_sent_as_a_bearer_and_once_where_it_is_refused(
    scripted: Script,
) -> None:
    refused = {"error": {"code": "Unauthorized", "message": "token-of-mine is no good"}}
    server, _ = scripted(lambda *_: (401, {}, refused))
    block = AzureOpenAICredentials(
        endpoint=server.root, deployment="d", azure_ad_token=SecretStr(" token-of-mine\n")
    )
    described = await block.get_server()
    assert described == await block.get_server()  # so that one client serves both
    client = VideoClient(described)
    with pytest.raises(AuthenticationError) as caught:
        await client.submit(clip(), None, "key")
    with pytest.raises(AuthenticationError):
        await client.retrieve("video_1")
    await client.close()
    assert [one.headers["authorization"] for one in server.seen] == ["Bearer token-of-mine"] * 2
    assert all("api-key" not in one.headers for one in server.seen)
    assert "token-of-mine" not in f"{caught.value}{block!r}{described!r}"


async def test_a_given_token_that_has_ended_is_told_before_anything_is_sent(
    start_renderer: StartRenderer,
) -> None:
    renderer = start_renderer(dialect="azure", api_key=KEY, models="d")

    def of(token: str) -> VideoClient:
        return VideoClient(azure_server(renderer.root, deployment="d", token=given_token(token)))

    good, ended = of(entra_token(KEY)), of(entra_token(KEY, lifetime_seconds=-60))
    await good.submit(clip(), None, "key")
    before = len(renderer.requests())
    with pytest.raises(AuthenticationError, match="ended on") as caught:
        await ended.submit(clip(), None, "key")
    assert "az account get-access-token" in str(caught.value)
    assert (caught.value.paid, len(renderer.requests())) == ("no", before)
    await good.close()
    await ended.close()


AZURE = {"AZURE_OPENAI_ENDPOINT": HOST, "AZURE_OPENAI_DEPLOYMENT": "my-sora"}


@pytest.mark.parametrize(
    ("more", "who"),
    [
        ({"AZURE_OPENAI_API_KEY": KEY}, "a key"),
        ({"AZURE_OPENAI_AD_TOKEN": "t"}, "a given token"),
        ({}, "an identity"),
        (
            {"PREFECT_SORA_ENTRA_ID": "1", "AZURE_OPENAI_ENDPOINT": "https://gateway.example"},
            "an identity",
        ),
        ({"AZURE_OPENAI_ENDPOINT": "https://gateway.example"}, "nobody"),
    ],
    ids=["a key", "a token", "Azure without either", "asked for", "a gateway without either"],
)
def test_the_environment_says_who_asks(more: dict[str, str], who: str) -> None:
    named = named_provider("azure", {**AZURE, "AZURE_OPENAI_IMAGE_DEPLOYMENT": "p", **more})
    server, fields = named.server(), named.fields  # type: ignore[attr-defined]  # described
    told = (
        "a key"
        if server.api_key
        else "nobody"
        if server.token is None
        else "an identity"
        if server.token.renews
        else "a given token"
    )
    assert (told, server.image_deployment) == (who, "p")
    assert AzureOpenAICredentials(**fields).entra_id == (who == "an identity")


def test_a_key_and_a_token_in_the_environment_are_refused_and_one_that_is_typed_is_meant() -> None:
    both = {**AZURE, "AZURE_OPENAI_API_KEY": KEY, "AZURE_OPENAI_AD_TOKEN": "t"}
    with pytest.raises(
        InvalidRequestError, match="AZURE_OPENAI_API_KEY and AZURE_OPENAI_AD_TOKEN are set"
    ):
        named_provider("azure", both)
    keys.use("typed", "azure", both)
    assert named_provider("azure", both).server().api_key == SecretStr("typed")


def test_a_dated_version_for_the_older_paths_is_not_sent_to_azures_v1() -> None:
    dated = {**AZURE, "OPENAI_API_VERSION": "2024-10-21"}
    assert named_provider("azure", dated).server().query == ()


def test_the_blocks_folder_makes_the_same_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AZURE_OPENAI_API_KEY", "OPENAI_API_VERSION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**AZURE, "AZURE_OPENAI_IMAGE_DEPLOYMENT": "p"}.items():
        monkeypatch.setenv(name, value)
    file = Path(__file__).parents[2] / "blocks" / "azure_account.py"
    block = runpy.run_path(str(file))["document"]()
    assert (block.entra_id, block.deployment, block.image_deployment) == (True, "my-sora", "p")
