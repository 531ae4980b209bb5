"""Blocks: what Prefect asks of a block type, what stays secret, and `python blocks`."""

import json
from collections.abc import Callable
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx2
import pytest
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.testing.standard_test_suites.blocks import BlockStandardTestSuite
from prefect.utilities.callables import parameter_schema
from pydantic import SecretStr, ValidationError

from prefect_sora import (
    AzureOpenAICredentials,
    InvalidRequestError,
    LocalRenderer,
    OpenAICredentials,
    VideoStore,
    text_to_video,
)
from prefect_sora.store.backends import VideoFolder
from tests.support import processes
from tests.support.prefect_server import prefect_home

ROOT = Path(__file__).parents[2]
OURS: list[type[Block]] = [
    AzureOpenAICredentials,
    LocalRenderer,
    OpenAICredentials,
    VideoStore,
]
CANARY = "sk-canary"


class TestEachBlockType(BlockStandardTestSuite):
    """Prefect's public suite, and two rules of ours."""

    @pytest.fixture(params=OURS, ids=lambda block: block.__name__)
    def block(self, request: pytest.FixtureRequest) -> type[Block]:
        block: type[Block] = request.param
        return block

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        """Without the download of Prefect's own test, which measures the picture."""
        url = urlsplit(str(block._logo_url))
        assert (url.scheme, url.path.rpartition(".")[2]) == ("https", "png")
        assert url.hostname

    def test_has_a_required_field_so_that_a_deployment_can_refer_to_it(
        self, block: type[Block]
    ) -> None:
        assert any(field.is_required() for field in block.model_fields.values())

    def test_has_a_name_that_no_other_collection_has(self, block: type[Block]) -> None:
        taken = names_of_other_collections()
        assert {"AWS Credentials", "s3-bucket"} <= taken  # the list is what we think it is
        assert block._block_type_name not in taken
        assert block._block_type_slug not in taken
        assert str(block._block_type_slug).startswith("sora-")


def names_of_other_collections() -> set[str]:
    """Names and slugs of what every Prefect server has, and of prefect-openai."""
    prefect_openai = {
        "OpenAI Credentials",
        "OpenAI Completion Model",
        "OpenAI Image Model",
        "openai-credentials",
        "openai-completion-model",
        "openai-image-model",
    }
    text = (files("prefect.server") / "collection_blocks_data.json").read_text("utf-8")
    return prefect_openai | {
        name
        for collection in json.loads(text)["collections"].values()
        for slug, block_type in collection["block_types"].items()
        for name in (slug, block_type["slug"], block_type["name"])
    }


@pytest.mark.parametrize("profile", ["openrouter", {"base": "openrouter", "can_list": True}])
async def test_a_hosted_server_needs_no_address(profile: str | dict[str, Any]) -> None:
    block = OpenAICredentials(profile=profile, api_key=SecretStr(CANARY))
    server = await block.get_server()
    assert block.base_url == server.base_url == "https://openrouter.ai/api/v1"
    assert server.profile.model_required
    with pytest.raises(ValidationError, match="base_url"):
        OpenAICredentials(profile="sglang")


def test_no_two_of_them_share_a_name() -> None:
    assert len({block._block_type_name for block in OURS}) == len(OURS)
    assert len({block._block_type_slug for block in OURS}) == len(OURS)


def test_the_collection_shows_prefect_these_four_and_no_other() -> None:
    (ours,) = entry_points(group="prefect.collections", name="prefect_sora")
    shown = {
        value
        for value in vars(ours.load()).values()
        if isinstance(value, type) and issubclass(value, Block) and value is not Block
    }
    assert shown == set(OURS)


async def test_a_prefect_server_beside_the_package_knows_them_unasked(prefect: str) -> None:
    async with httpx2.AsyncClient() as http:
        answers = [await http.get(f"{prefect}/block_types/slug/{b._block_type_slug}") for b in OURS]
    assert [answer.status_code for answer in answers] == [200] * len(OURS)


@pytest.mark.parametrize(
    "block",
    [
        OpenAICredentials(
            base_url="https://video.example/v1",
            api_key=SecretStr(CANARY),
            organization="org-1",
            project="proj-1",
            webhook_secret=SecretStr(f"whsec_{CANARY}"),
            profile="generic",
        ),
        AzureOpenAICredentials(
            endpoint="https://clips.openai.azure.com",
            deployment="sora-west",
            api_key=SecretStr(CANARY),
            api_version="preview",
        ),
        VideoStore(
            "s3://clips/tonight",
            storage_options={"key": f"AKIA{CANARY}", "secret": CANARY, "anon": False},
        ),
        LocalRenderer(folder="/var/lib/renderer"),
    ],
    ids=lambda block: type(block).__name__,
)
async def test_a_saved_block_comes_back_whole_and_is_shown_without_its_secrets(
    block: Block, prefect: str
) -> None:
    name = f"saved-{uuid4().hex[:8]}"
    document_id = await block.asave(name)
    loaded = await type(block).aload(name)
    assert secrets_and_all(loaded) == secrets_and_all(block)

    async with httpx2.AsyncClient(base_url=f"{prefect}/block_documents") as http:
        shown = await http.get(f"/{document_id}")
        asked = await http.get(f"/{document_id}", params={"include_secrets": "true"})
    assert shown.is_success
    assert CANARY not in shown.text
    assert CANARY not in repr(loaded)
    assert (CANARY in asked.text) is not isinstance(block, LocalRenderer)


def secrets_and_all(block: Block) -> dict[str, Any]:
    """Secrets compare equal by their value."""
    return {name: getattr(block, name) for name in type(block).model_fields}


async def test_a_flow_takes_a_saved_block_of_any_type_by_reference(prefect: str) -> None:
    providers: list[Block] = [
        OpenAICredentials(base_url="https://video.example/v1"),
        AzureOpenAICredentials(endpoint="https://clips.openai.azure.com"),
        LocalRenderer(folder="/var/lib/renderer"),
    ]
    store = VideoStore("s3://clips")
    deployment = await deployed_text_to_video()
    for block in [*providers, store]:
        await block.asave("by-reference", overwrite=True)
    for provider in providers:
        for form in (reference_by_name, reference_by_id):
            parameters = {"prompt": "a kite", "provider": form(provider), "store": form(store)}
            async with get_client() as api:
                run = await api.create_flow_run_from_deployment(deployment, parameters=parameters)
            assert run.parameters == parameters  # kept as a reference, never as the values


@pytest.mark.usefixtures("prefect")
@pytest.mark.parametrize(
    "provider",
    [
        OpenAICredentials(base_url="https://video.example/v1", api_key=SecretStr(CANARY)),
        AzureOpenAICredentials(endpoint="https://c.openai.azure.com", api_key=SecretStr(CANARY)),
        LocalRenderer(folder="/var/lib/renderer"),
    ],
    ids=lambda block: type(block).__name__,
)
def test_a_reference_becomes_the_block_that_was_saved(provider: Block) -> None:
    store = VideoStore("s3://clips", storage_options={"secret": CANARY})
    for block in (provider, store):
        block.save("becomes-a-block", overwrite=True)
    for form in (reference_by_name, reference_by_id):
        parameters = {"prompt": "a kite", "provider": form(provider), "store": form(store)}
        taken = text_to_video.validate_parameters(parameters)
        assert type(taken["provider"]) is type(provider)
        assert secrets_and_all(taken["provider"]) == secrets_and_all(provider)
        assert secrets_and_all(taken["store"]) == secrets_and_all(store)


@pytest.mark.parametrize(
    "provider",
    [
        "sora-openai-credentials/by-name",
        {"api_key": "no address"},
        None,
    ],
    ids=["it is only a name", "it says too little", "nothing"],
)
async def test_a_flow_refuses_what_is_no_provider_before_it_runs(
    provider: Any, prefect: str
) -> None:
    deployment = await deployed_text_to_video()
    parameters = {"prompt": "a kite", "provider": provider, "store": "s3://clips"}
    async with get_client() as api:
        with pytest.raises(PrefectHTTPStatusError, match="409"):
            await api.create_flow_run_from_deployment(deployment, parameters=parameters)


async def deployed_text_to_video() -> UUID:
    async with get_client() as api:
        return await api.create_deployment(
            flow_id=await api.create_flow(text_to_video),
            name="takes-references",
            parameter_openapi_schema=parameter_schema(text_to_video).model_dump(),
            enforce_parameter_schema=True,
        )


def reference_by_name(block: Block) -> dict[str, Any]:
    slug = f"{block.get_block_type_slug()}/{block._block_document_name}"
    return {"$ref": {"block_document_slug": slug}}


def reference_by_id(block: Block) -> dict[str, Any]:
    return {"$ref": {"block_document_id": f"{block._block_document_id}"}}


@pytest.mark.parametrize("mask", ["********", "**********"], ids=["of the API", "of a parameter"])
async def test_a_masked_secret_is_refused_with_the_way_on(mask: str) -> None:
    """Prefect passes a block that was handed to another run with its secrets masked."""
    openai = OpenAICredentials(base_url="https://video.example/v1", api_key=SecretStr(mask))
    azure = AzureOpenAICredentials(endpoint="https://c.openai.azure.com", api_key=SecretStr(mask))
    store = VideoStore("s3://clips", storage_options={"key": "AKIA", "secret": mask})
    with pytest.raises(InvalidRequestError, match=r"^api_key is a row of asterisks.*\$ref"):
        await openai.get_client()
    with pytest.raises(InvalidRequestError, match=r"^api_key is a row of asterisks.*\$ref"):
        await azure.get_client()
    with pytest.raises(InvalidRequestError, match=r"^storage_options is a row of asterisks.*\$ref"):
        _ = store.ledger


@pytest.mark.parametrize(
    ("fields", "version"),
    [
        pytest.param({"endpoint": "https://clips.openai.azure.com"}, None, id="the resource"),
        pytest.param({"endpoint": "https://clips.openai.azure.com/"}, None, id="with a slash"),
        pytest.param({"endpoint": "https://clips.openai.azure.com/openai"}, None, id="/openai"),
        pytest.param({"endpoint": "https://clips.openai.azure.com/openai/v1"}, None, id="v1"),
        pytest.param({"endpoint": "https://clips.openai.azure.com/openai/v1/"}, None, id="v1/"),
        pytest.param(
            {"endpoint": "https://clips.openai.azure.com/openai/v1?api-version=preview"},
            "preview",
            id="with a version",
        ),
        pytest.param(
            {"endpoint": "https://clips.openai.azure.com/?api-version=preview"},
            "preview",
            id="the resource with a version",
        ),
        pytest.param(
            {"endpoint": "https://clips.openai.azure.com", "api_version": "v1"},
            "v1",
            id="its field",
        ),
        pytest.param(
            {
                "endpoint": "https://clips.openai.azure.com/openai/v1/?api-version=preview",
                "api_version": "2025-04-01",
            },
            "2025-04-01",
            id="its field before the URL's",
        ),
    ],
)
async def test_any_form_of_an_azure_endpoint_leads_to_one_address(
    fields: dict[str, str], version: str | None
) -> None:
    azure = AzureOpenAICredentials(**fields, deployment="sora-west", api_key=SecretStr(CANARY))
    server = await azure.get_server()
    assert server.base_url == "https://clips.openai.azure.com/openai/v1"
    assert dict(server.query) == ({"api-version": version} if version else {})
    assert (server.auth, server.deployment) == ("api-key", "sora-west")
    assert server.service == "azure"


@pytest.mark.parametrize(
    "make",
    [
        lambda: OpenAICredentials(base_url=f"https://me:{CANARY}@video.example/v1"),
        lambda: OpenAICredentials(base_url=f"https://{CANARY}@video.example/v1"),
        lambda: AzureOpenAICredentials(endpoint=f"https://me:{CANARY}@clips.openai.azure.com"),
        lambda: VideoStore(f"s3://me:{CANARY}@bucket/clips"),
        lambda: VideoFolder(f"s3://me:{CANARY}@bucket/clips"),
    ],
    ids=["user and password", "a user alone", "Azure", "a store", "a folder"],
)
def test_credentials_in_an_address_are_refused_at_once_and_not_repeated(
    make: Callable[[], Any],
) -> None:
    with pytest.raises(InvalidRequestError, match=r"carries (credentials|a password)") as caught:
        make()
    assert CANARY not in f"{caught.value!r}"


def test_a_store_is_made_of_a_path_or_a_url(tmp_path: Path) -> None:
    assert VideoStore(tmp_path) == VideoStore(url=str(tmp_path)) == VideoStore(str(tmp_path))
    assert VideoStore(tmp_path).folder.root == str(tmp_path)
    s3 = VideoStore("s3://clips/tonight", storage_options={"key": "AKIA", "secret": CANARY})
    assert s3.folder.root == "s3://clips/tonight"
    assert s3.folder.options == {"key": "AKIA", "secret": CANARY}
    assert CANARY not in f"{s3!r}{s3.folder!r}"


@pytest.mark.slow
def test_python_blocks_saves_the_same_documents_each_time(prefect_api: str, tmp_path: Path) -> None:
    account = {"OPENAI_BASE_URL": "https://video.example/v1", "OPENAI_API_KEY": CANARY}
    azure = {
        "AZURE_OPENAI_ENDPOINT": "https://clips.openai.azure.com",
        "AZURE_OPENAI_API_KEY": f"azure-{CANARY}",
    }
    store = {"PREFECT_SORA_STORE": "s3://clips"}
    first = python_blocks(["blocks"], prefect_api, tmp_path, **account, **azure, **store)
    assert saved_by(first) == [
        "sora-azure-openai-credentials/azure-account",
        "sora-local-renderer/local-renderer",
        "sora-openai-credentials/openai-account",
        "sora-video-store/video-store",
    ]
    documents = [document(prefect_api, name) for name in saved_by(first)]

    # The key was changed, the rest is as it was.
    account["OPENAI_API_KEY"] = f"{CANARY}-2"
    second = python_blocks(["-m", "blocks"], prefect_api, tmp_path, **account, **azure, **store)
    assert saved_by(second) == saved_by(first)
    again = [document(prefect_api, name) for name in saved_by(second)]
    assert [d["id"] for d in again] == [d["id"] for d in documents]
    keys = [d["data"].get("api_key") for d in (documents[2], again[2], again[0])]
    assert keys == [CANARY, f"{CANARY}-2", f"azure-{CANARY}"]
    assert CANARY not in first.stdout + first.stderr + second.stdout + second.stderr


def test_python_blocks_says_what_it_leaves_out_and_why(prefect_api: str, tmp_path: Path) -> None:
    done = python_blocks(["blocks"], prefect_api, tmp_path)
    assert "skipped  openai-account: neither OPENAI_BASE_URL nor OPENAI_API_KEY is" in done.stdout
    assert "skipped  azure-account: AZURE_OPENAI_ENDPOINT is not set" in done.stdout
    assert saved_by(done) == [
        "sora-local-renderer/local-renderer",
        "sora-video-store/video-store",
    ]
    renders = document(prefect_api, "sora-video-store/video-store")["data"]["url"]
    assert renders == str(ROOT / "renders")


def test_python_blocks_saves_no_address_with_a_key_in_it(prefect_api: str, tmp_path: Path) -> None:
    url = f"https://me:{CANARY}@video.example/v1"
    done = python_blocks(["blocks"], prefect_api, tmp_path, OPENAI_BASE_URL=url)
    assert done.returncode == 1
    assert "openai-account: base_url for video.example carries credentials" in done.stderr
    assert saved_by(done) == []
    assert CANARY not in done.stdout + done.stderr


def python_blocks(
    command: list[str], prefect_api: str, home: Path, **environment: str
) -> CompletedProcess[str]:
    """Run it from the checkout, with no account but the given ones."""
    inherited = {
        name: value
        for name, value in prefect_home(home, prefect_api).items()
        if not name.startswith(("OPENAI_", "AZURE_"))
    }
    done = processes.run(
        command,
        cwd=ROOT,
        env=inherited | {"PREFECT_SORA_LOCAL_FOLDER": str(home / "renderer")} | environment,
    )
    assert done.returncode in (0, 1), done.stderr
    return done


def saved_by(done: CompletedProcess[str]) -> list[str]:
    lines = [line.split() for line in done.stdout.splitlines()]
    return [words[1] for words in lines if words[0] == "saved"]


def document(prefect_api: str, name: str) -> dict[str, Any]:
    slug, _, document_name = name.partition("/")
    answer = httpx2.get(
        f"{prefect_api}/block_types/slug/{slug}/block_documents/name/{document_name}",
        params={"include_secrets": "true"},
    )
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


@pytest.mark.parametrize(
    "block",
    [
        OpenAICredentials(base_url="https://gw.example/v1?key=gw-canary-1&api-version=2"),
        AzureOpenAICredentials(
            endpoint="https://gw.example/x?key=gw-canary-1&api-version=2", deployment="d"
        ),
    ],
    ids=lambda block: type(block).__name__,
)
async def test_a_key_in_an_address_is_moved_out_of_what_prefect_shows(block: Any) -> None:
    assert "gw-canary-1" not in f"{block!r}{block.model_dump()}{block.model_dump_json()}"
    described = await block.describe()
    assert dict(described.query) == {"key": "gw-canary-1", "api-version": "2"}
    again = type(block)(**{**block.model_dump(), "query": block.query})
    assert (await again.describe()).query == described.query
    masked_block = type(block)(**{**block.model_dump(), "query": {"key": "********"}})
    with pytest.raises(InvalidRequestError, match="query is a row of asterisks"):
        await masked_block.describe()
