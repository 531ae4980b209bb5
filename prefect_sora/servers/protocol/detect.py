"""Detect: which kind of server this is, by a few harmless GETs.

What they do not tell is no proof that the server lacks it: it is taken for a generic one then, and
its answer to a create tells the rest.

The signs that tell servers apart were read in their sources, or seen (docs/servers marks those):
SGLang 0.5.23, vLLM-Omni 0.30.0, FastVideo 0.2.1, TensorRT-LLM (2026), LiteLLM 1.109.1,
new-api (2026), Dynamo's http/service/openai.rs (2026), Azure's and OpenAI's answers as recorded in
public (2026).
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import httpx2

from prefect_sora.errors import InvalidRequestError, RejectedError, UnavailableError
from prefect_sora.requests import documents
from prefect_sora.servers.profiles import (
    AUTO,
    AZURE,
    DYNAMO,
    FASTVIDEO,
    GENERIC,
    LITELLM_PROXY,
    LOCAL,
    NEW_API,
    OPENAI,
    SGLANG,
    TENSORRT_LLM,
    VLLM_OMNI,
    Profile,
    read_profile,
)
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.http.arrivals import json_of
from prefect_sora.servers.protocol.http.proxies import reach
from prefect_sora.servers.protocol.listing import learn_catalogue
from prefect_sora.servers.protocol.status_errors import no_answer, status_error
from prefect_sora.servers.server import Server

log = logging.getLogger(__name__)

NAME_ANOTHER: Final = (
    "To name its kind: --profile openai, such as it is, or PREFECT_SORA_PROFILE, or the block's "
    "profile."
)

_OWNERS: Final = {
    "prefect-sora": LOCAL,
    "sglang": SGLANG,
    "vllm": VLLM_OMNI,
    "fastvideo": FASTVIDEO,
    "tensorrt_llm": TENSORRT_LLM,
}


@dataclass(frozen=True)
class Recognised:
    """What a server was found to be.

    Attributes:
        profile: Its profile; generic where nothing told more.
        by: The sign that told it, for people.
        models: The models that it names.
    """

    profile: Profile
    by: str
    models: tuple[str, ...] = ()


_known: dict[Server, Profile] = {}


async def recognised(server: Server) -> Server:
    """Give a server whose profile is `auto` its own profile; a process asks each server once.

    Its catalogue of models is read, too, where it has one.

    Raises:
        ApiError: As `recognise` says.
    """
    if server.profile != AUTO:
        await learn_catalogue(server)
        return server
    if server not in _known:
        try:
            await reach(server.base_url)
        except httpx2.ConnectError as error:
            raise no_answer(server, error) from None
        client = VideoClient(server)
        try:
            found = await recognise(client)
        except UnavailableError as error:
            if not error.never_sent:  # whoever is not there has no kind either
                error.advise(*error.steps, NAME_ANOTHER)
            raise
        finally:
            await client.close()
        _known[server] = found.profile
        if found.profile == GENERIC:
            log.warning(
                "%s does not say what it is: it is treated as a generic server. %s",
                server.base_url,
                NAME_ANOTHER,
            )
        else:
            log.info("%s is taken for %s, by %s.", server.base_url, found.profile.name, found.by)
    server = replace(server, profile=_known[server])
    await learn_catalogue(server)
    return server


async def with_catalogue(server: Server) -> Server:
    """Give a server the profile that its address tells, and read its catalogue, if it has one.

    Nothing else is asked of it: so it may be `auto` still.
    """
    at = server.by_address if server.profile == AUTO else None
    server = replace(server, profile=at) if at else server
    await learn_catalogue(server)
    return server


async def recognise(client: VideoClient) -> Recognised:
    """Find out what a server is; nothing is sent that could cost anything.

    Args:
        client: The server, of whatever profile.

    Raises:
        UnavailableError: It does not answer, so that nothing is known: a guess here could
            be another one when it runs again.
        AuthenticationError: It does not take the key.
        RejectedError: It is no video server.
    """
    at = client.server.by_address
    if at:
        return Recognised(at, "its address")
    models = await client.peek("/models")
    _refuse_what_is_no_answer(client, models)
    found = _by_headers(models) or _by_models(models)
    named = _names(models)
    if found in (LOCAL, SGLANG, FASTVIDEO, TENSORRT_LLM, NEW_API, AZURE, OPENAI):
        return Recognised(found, "its list of models", named)
    jobs = await client.peek("/videos?limit=1")
    _refuse_what_is_no_answer(client, jobs, may_be_forbidden=models.status_code != 403)
    if _is_of_language(models):
        _refuse_what_serves_no_videos(client, jobs)
    if found is VLLM_OMNI:
        return Recognised(VLLM_OMNI, "its list of models", named)
    if found := _by_headers(jobs):
        return Recognised(found, "the headers of its list of videos", named)
    if jobs.status_code == 405 and "POST" in jobs.headers.get("allow", "") and _is_nvidia(models):
        return Recognised(DYNAMO, "its models' owner, and that it has creates alone", named)
    if jobs.status_code == 400 and _code(jobs) == "400":
        # LiteLLM behind another proxy, which took its headers off.
        alive = await _peek_root(client, "/health/liveliness")
        if alive.status_code == 200 and json_of(alive) == "I'm alive!":
            return Recognised(LITELLM_PROXY, "its sign of life", named)
    if jobs.status_code == 404 and not named:
        await _refuse_what_answers_below_v1(client)
    return Recognised(GENERIC, "nothing that is known", named)


async def _peek_root(client: VideoClient, path: str) -> httpx2.Response:
    """Ask for something harmless outside /v1, without credentials, and take any answer.

    Raises:
        UnavailableError: None came.
    """
    root = client.server.base_url.removesuffix("/v1")
    try:
        return await client.http.get(f"{root}{path}", follow_redirects=False)
    except httpx2.HTTPError as error:
        raise no_answer(client.server, error) from None


async def profile_of(given: str | Mapping[str, Any]) -> Profile:
    """Read a profile: by its name, as it is written, or from a YAML or JSON file.

    Raises:
        InvalidRequestError: No such profile, no such file, or a field that no profile has.
    """
    if isinstance(given, str) and given.lower().endswith((".json", ".yaml", ".yml")):
        written = await documents.read(given, "profile")
        if not isinstance(written, Mapping):
            raise InvalidRequestError(
                f"{documents.named(given, 'profile')} holds no fields.",
                next_step="Write it as a mapping, with a base and what differs from it.",
            )
        return read_profile(written)
    return read_profile(given)


def _by_headers(response: httpx2.Response) -> Profile | None:
    headers = response.headers
    if "x-litellm-version" in headers or "x-litellm-call-id" in headers:
        return LITELLM_PROXY
    if "x-new-api-version" in headers or "x-oneapi-request-id" in headers:
        return NEW_API
    if "apim-request-id" in headers:
        return AZURE
    if "openai-processing-ms" in headers:
        return OPENAI
    return None


def _by_models(response: httpx2.Response) -> Profile | None:
    for entry in _entries(response):
        owner = _OWNERS.get(str(entry.get("owned_by")))
        if owner is SGLANG and "task_type" not in entry and "pipeline_name" not in entry:
            continue  # SGLang's server of language models
        if owner:
            return owner
    return None


def _entries(response: httpx2.Response) -> list[Mapping[str, Any]]:
    body = json_of(response)
    data = body.get("data") if isinstance(body, Mapping) else None
    return [entry for entry in data if isinstance(entry, Mapping)] if isinstance(data, list) else []


def _names(response: httpx2.Response) -> tuple[str, ...]:
    return tuple(str(entry["id"]) for entry in _entries(response) if "id" in entry)


def _code(response: httpx2.Response) -> object:
    body = json_of(response)
    error = body.get("error") if isinstance(body, Mapping) else None
    return error.get("code") if isinstance(error, Mapping) else None


def _is_of_language(models: httpx2.Response) -> bool:
    """Whether a server names models as those of language models do, which may have videos, too."""
    return any(entry.get("owned_by") in ("sglang", "vllm") for entry in _entries(models))


def _is_nvidia(models: httpx2.Response) -> bool:
    return any(entry.get("owned_by") == "nvidia" for entry in _entries(models))


def _refuse_what_is_no_answer(
    client: VideoClient, response: httpx2.Response, *, may_be_forbidden: bool = True
) -> None:
    """Stop at a key that does not work, an outage, a login page.

    One question may be forbidden to a key that may do others, and one page may be missing.
    """
    status = response.status_code
    refused = status in (401, 429) or (status >= 500 and status != 501)
    if refused or (status == 403 and not may_be_forbidden) or b"no_db_conn" in response.content:
        raise status_error(client.server, response, verb="models")
    is_page = response.headers.get("content-type", "").startswith("text/html")
    if response.is_redirect or (is_page and status not in (403, 404, 405, 501)):
        raise RejectedError(
            f"The address {client.server.base_url} answers with a page, not as an API.",
            status=response.status_code,
            next_step="Point base_url at the API itself, such as https://host/v1. Or a login page "
            "stands in front of it.",
        )


def _refuse_what_serves_no_videos(client: VideoClient, jobs: httpx2.Response) -> None:
    said = jobs.text[:200] if len(jobs.content) < 10_000 else ""
    unknown_path = jobs.status_code == 404 and json.dumps("Not Found") in said
    if unknown_path:
        raise RejectedError(
            f"{client.server.base_url} is an API, and has no /videos: it serves no videos.",
            status=404,
            next_step=(
                "Check base_url, with its path: most servers answer under /v1. A server that was "
                "started for language models has no videos.",
                NAME_ANOTHER,
            ),
        )


async def _refuse_what_answers_below_v1(client: VideoClient) -> None:
    """Stop where the address lacks its end: most servers answer below /v1, and this one does."""
    base = client.server.base_url
    if base.endswith("/v1"):
        return
    for path in ("/v1/models", "/v1/videos?limit=1"):
        told = await _peek_root(client, path)
        if told.status_code in (200, 401, 403, 405) and isinstance(json_of(told), Mapping):
            raise RejectedError(
                f"{base} has no /videos, and {base}/v1 answers.",
                status=404,
                next_step=f"Write {base}/v1.",
            )
