"""Providers: who renders is said by name or by the environment, and never guessed."""

from pathlib import Path

import pytest

from prefect_sora.errors import InvalidRequestError
from prefect_sora.renders.environment import local_folder, named_provider

AZURE = {
    "AZURE_OPENAI_ENDPOINT": "https://clips.openai.azure.com",
    "AZURE_OPENAI_DEPLOYMENT": "my-sora",
    "OPENAI_API_VERSION": "preview",
}


@pytest.mark.parametrize(
    ("environ", "name", "label"),
    [
        ({"OPENAI_API_KEY": "sk-1"}, "openai", "https://api.openai.com/v1"),
        ({"OPENAI_BASE_URL": "http://gpu:30010/v1"}, "openai", "http://gpu:30010/v1"),
        (AZURE, "azure", "https://clips.openai.azure.com/openai/v1"),
        ({**AZURE, "OPENAI_API_KEY": "sk-1"}, "openai", "https://api.openai.com/v1"),
    ],
    ids=["a key alone is OpenAI's", "a server without a key", "azure", "openai comes first"],
)
def test_the_environment_names_the_provider(environ: dict[str, str], name: str, label: str) -> None:
    chosen = named_provider(None, environ)

    assert (chosen.name, chosen.label, chosen.is_local) == (name, label, False)


def test_an_empty_environment_names_nobody() -> None:
    with pytest.raises(InvalidRequestError, match="No provider is named"):
        named_provider(None, {"OPENAI_API_KEY": ""})


def test_the_local_renderer_has_a_folder_of_the_user_or_the_one_that_is_named(
    tmp_path: Path,
) -> None:
    assert local_folder({}) == Path.home() / ".prefect-sora" / "renderer"
    assert local_folder({"PREFECT_SORA_LOCAL_FOLDER": str(tmp_path)}) == tmp_path


def test_account_and_deployment_make_the_server_another_one() -> None:
    openai = named_provider(
        "openai", {"OPENAI_API_KEY": "sk-1", "OPENAI_ORG_ID": "org", "OPENAI_PROJECT_ID": "proj"}
    ).server()
    azure = named_provider("azure", AZURE).server()

    assert openai.identity == "https://api.openai.com/v1#org#proj"
    assert (azure.deployment, azure.query) == ("my-sora", (("api-version", "preview"),))


def test_a_block_is_loaded_only_when_it_is_needed() -> None:
    chosen = named_provider("sora-local-renderer/mine", {})

    assert (chosen.is_saved, chosen.is_local) == (True, True)


@pytest.mark.parametrize("name", ["Local", "/", "slug/", "https:"])
def test_anything_else_is_no_provider(name: str) -> None:
    with pytest.raises(InvalidRequestError, match="is no provider"):
        named_provider(name, {})


def test_a_profile_of_ones_own_stands_in_the_environment_as_json() -> None:
    variables = {"OPENAI_BASE_URL": "http://gpu-box:8000/v1"}
    own = named_provider("openai", {**variables, "PREFECT_SORA_PROFILE": '{"can_list": false}'})
    assert own.server().profile.can_list is False
    with pytest.raises(InvalidRequestError, match="PREFECT_SORA_PROFILE is no JSON"):
        named_provider("openai", {**variables, "PREFECT_SORA_PROFILE": "{can_list"})
