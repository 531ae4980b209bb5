"""Providers: who renders is said by name or by the environment, and never guessed."""

from pathlib import Path

import pytest

from prefect_sora.cli import providers, redaction
from prefect_sora.errors import InvalidRequestError

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
    chosen = providers.choose(None, environ)

    assert (chosen.name, chosen.label, chosen.is_local) == (name, label, False)


def test_an_empty_environment_names_nobody() -> None:
    with pytest.raises(InvalidRequestError, match="No provider is named"):
        providers.choose(None, {"OPENAI_API_KEY": ""})


def test_the_local_renderer_has_a_folder_of_the_user_or_the_one_that_is_named(
    tmp_path: Path,
) -> None:
    assert providers.local_folder({}) == Path.home() / ".prefect-sora" / "renderer"
    assert providers.local_folder({"PREFECT_SORA_LOCAL_FOLDER": str(tmp_path)}) == tmp_path


def test_account_and_deployment_make_the_server_another_one() -> None:
    openai = providers.choose(
        "openai", {"OPENAI_API_KEY": "sk-1", "OPENAI_ORG_ID": "org", "OPENAI_PROJECT_ID": "proj"}
    ).server()
    azure = providers.choose("azure", AZURE).server()

    assert openai.identity == "https://api.openai.com/v1#org#proj"
    assert (azure.deployment, azure.query) == ("my-sora", (("api-version", "preview"),))


def test_a_block_is_loaded_only_when_it_is_needed() -> None:
    chosen = providers.choose("sora-local-renderer/mine", {})

    assert (chosen.needs_prefect, chosen.is_local) == (True, True)


@pytest.mark.parametrize("name", ["Local", "/", "slug/", "https:"])
def test_anything_else_is_no_provider(name: str) -> None:
    with pytest.raises(InvalidRequestError, match="is no provider"):
        providers.choose(name, {})


def test_a_key_from_the_environment_is_hidden_from_then_on() -> None:
    providers.choose("openai", {"OPENAI_API_KEY": "sk-from-the-environment"})

    assert redaction.safe("key sk-from-the-environment!") == "key ********!"


def test_a_profile_of_ones_own_stands_in_the_environment_as_json() -> None:
    named = {"OPENAI_BASE_URL": "http://gpu-box:8000/v1"}
    own = providers.choose("openai", {**named, "PREFECT_SORA_PROFILE": '{"can_list": false}'})
    assert own.server().profile.can_list is False
    with pytest.raises(InvalidRequestError, match="PREFECT_SORA_PROFILE is no JSON"):
        providers.choose("openai", {**named, "PREFECT_SORA_PROFILE": "{can_list"})
