"""Providers: who renders is said by name or by the environment, and never guessed."""

from pathlib import Path

import pytest

from prefect_sora.errors import InvalidRequestError
from prefect_sora.renders.environment import described, keys, local_folder, named_provider

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


@pytest.mark.parametrize(
    ("name", "variable", "url"),
    [
        ("openrouter", "OPENROUTER", "https://openrouter.ai/api/v1"),
        ("together", "TOGETHER", "https://api.together.ai"),
        ("xai", "XAI", "https://api.x.ai/v1"),
    ],
)
def test_a_hosted_server_is_named_and_has_its_key_in_a_variable_of_its_own(
    name: str, variable: str, url: str
) -> None:
    environ = {f"{variable}_API_KEY": "sk-1", "OPENAI_API_KEY": "sk-2", "OPENAI_ORG_ID": "org"}
    server = named_provider(name, environ).server()
    proxy = named_provider(name, {**environ, f"{variable}_BASE_URL": "http://proxy/v1"}).server()

    assert (server.base_url, server.identity, server.profile.name) == (url, url, name)
    assert server.credentials == {"Authorization": "Bearer sk-1"}
    assert proxy.base_url == "http://proxy/v1"
    by_url = {one: named_provider(one, environ).server() for one in (url, "https://host/v1")}
    assert by_url[url].credentials["Authorization"] == "Bearer sk-1"
    assert "Authorization" not in by_url["https://host/v1"].credentials
    assert [one.name for one in described(environ)] == ["openai", name]
    assert keys(environ) == ["sk-2", "sk-1"]
    with pytest.raises(InvalidRequestError, match=f"needs {variable}_API_KEY"):
        named_provider(name, {"OPENAI_API_KEY": "sk-2"})


@pytest.mark.parametrize(
    ("profile", "can_list"),
    [('{"base": "xai", "can_list": true}', True), ("sglang", False)],
    ids=["one of its own kind", "another server's is left alone"],
)
def test_a_profile_in_the_environment_is_of_the_server_that_it_is_made_of(
    profile: str, can_list: bool
) -> None:
    server = named_provider("xai", {"XAI_API_KEY": "sk-1", "PREFECT_SORA_PROFILE": profile})
    assert server.server().profile.can_list is can_list
