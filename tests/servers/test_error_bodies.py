"""Failures: what each kind of server says when it refuses, and what it means for who asked."""

import json
from dataclasses import replace
from typing import Any, NamedTuple

import httpx2
import pytest

from prefect_sora.errors import (
    AuthenticationError,
    ModerationError,
    QuotaError,
    RateLimitError,
    RejectedError,
    RetiredModelError,
    SoraError,
    UnavailableError,
    VideoNotFoundError,
)
from prefect_sora.servers.profiles import HOSTED, PROFILES
from prefect_sora.servers.protocol.error_bodies import Failure, read_failure
from prefect_sora.servers.protocol.status_errors import status_error
from prefect_sora.servers.server import remote

SERVER = remote("http://video.example/v1")


@pytest.mark.parametrize(
    ("shape", "message", "code"),
    [
        ({"error": {"message": "no", "code": "bad"}}, "no", "bad"),
        ({"error": {"message": "no", "code": 400}}, "no", "400"),
        ({"error": "Unauthorized"}, "Unauthorized", None),
        ({"code": "no-funds", "error": "Out of credit"}, "Out of credit", "no-funds"),
        (
            {"error": {"code": 429, "message": "no", "metadata": {"error_type": "too_many"}}},
            "no",
            "too_many",
        ),
        ({"detail": "in progress"}, "in progress", None),
        ({"detail": [{"loc": ["size"]}]}, '[{"loc": ["size"]}]', None),
        ({"object": "error", "message": "flat", "code": 422}, "flat", "422"),
        ("out of memory", "out of memory", None),
        (
            {"error": {"message": 'litellm: {"error": {"message": "inner", "code": "x"}}'}},
            "inner",
            "x",
        ),
        (
            {"error": {"message": 'L - {"error": {"message": "in"}}. Received Model Group=v'}},
            "in",
            None,
        ),
        (
            {"error": {"message": "no", "code": "400", "innererror": {"code": "Deeper"}}},
            "no",
            "Deeper",
        ),
    ],
    ids=[
        "object",
        "int",
        "string",
        "xai",
        "openrouter",
        "detail",
        "list",
        "flat",
        "text",
        "nested",
        "trailed",
        "azure",
    ],
)
def test_an_error_of_any_shape_is_understood(shape: object, message: str, code: str | None) -> None:
    failure = read_failure(shape)
    assert failure is not None
    assert (failure.message, failure.code) == (message, code)


class Said(NamedTuple):
    """What a server answers to a create, and what that is."""

    server: str
    status: int
    body: Any
    error: type[SoraError]


def openai(message: str, code: Any = None, type: str = "invalid_request_error") -> Any:
    return {"error": {"message": message, "type": type, "param": None, "code": code}}


def litellm(kind: str, upstream: Any, code: str) -> Any:
    text = f"litellm.{kind}: {kind}: OpenAIException - {json.dumps(upstream)}"
    tail = ". Received Model Group=video\nAvailable Model Group Fallbacks=None"
    return {"error": {"message": text + tail, "type": None, "param": None, "code": code}}


def tensorrt(message: str, code: int, type: str = "BadRequestError") -> Any:
    return {"object": "error", "message": message, "type": type, "param": None, "code": code}


def openrouter(code: int, message: str, **metadata: Any) -> Any:
    return {"error": {"code": code, "message": message, "metadata": metadata}, "user_id": "u"}


SAYINGS = [
    # Hosted servers: OpenRouterTeam/docs (2026-08-22), xai-sdk 1.21.0.
    Said("openrouter", 402, openrouter(402, "Insufficient credits"), QuotaError),
    Said(
        "openrouter",
        402,
        openrouter(402, "Key limit exceeded", limit_source="openrouter_key_limit"),
        QuotaError,
    ),
    Said(
        "openrouter",
        402,
        openrouter(402, "Too much under way", limit_source="openrouter_in_flight_budget"),
        RateLimitError,
    ),
    Said(
        "generic",
        402,
        openrouter(402, "Too much under way", limit_source="openrouter_in_flight_budget"),
        QuotaError,
    ),
    Said(
        "openrouter",
        403,
        openrouter(
            403,
            "Your chosen model requires moderation and your input was flagged",
            reasons=["violence"],
            flagged_input="a battle",
            provider_name="Kite",
            model_slug="a/kite",
        ),
        ModerationError,
    ),
    Said(
        "openrouter",
        400,
        openrouter(400, "Refused", error_type="content_policy_violation"),
        ModerationError,
    ),
    Said("openrouter", 403, openrouter(403, "Not for this key"), AuthenticationError),
    Said("openrouter", 503, openrouter(503, "No provider can take it"), RateLimitError),
    Said("openrouter", 503, "<html>503</html>", UnavailableError),
    Said("openrouter", 500, openrouter(500, "Internal error"), UnavailableError),
    Said("openrouter", 400, openrouter(400, "Duration 7 is not supported"), RejectedError),
    Said("xai", 401, {"error": "Unauthorized"}, AuthenticationError),
    Said("xai", 404, {"code": "Some entity was not found", "error": "No model x"}, RejectedError),
    Said("xai", 400, {"code": "content_filter", "error": "Refused."}, ModerationError),
    # Moderation, by a code or in words.
    Said(
        "openai",
        400,
        openai("Your request was blocked by our moderation system.", "moderation_blocked"),
        ModerationError,
    ),
    Said(
        "openai",
        400,
        openai("Your request was rejected.", "content_policy_violation"),
        ModerationError,
    ),
    Said(
        "openai",
        400,
        {
            "error": {
                "message": "Blocked.",
                "type": "image_generation_user_error",
                "code": "moderation_blocked",
                "moderation_details": {"moderation_stage": "input", "categories": ["violence"]},
            }
        },
        ModerationError,
    ),
    Said(
        "openai",
        400,
        openai(
            "This content may violate our guardrails concerning similarity to third-party content."
        ),
        ModerationError,
    ),
    Said(
        "openai",
        400,
        openai("Input images with human faces are currently rejected.", "invalid_value"),
        ModerationError,
    ),
    Said(
        "openai",
        400,
        openai("We cannot generate videos in the likeness of real people."),
        ModerationError,
    ),
    Said(
        "openai",
        403,
        openai("Copyrighted characters are not allowed.", None, "video_generation_user_error"),
        ModerationError,
    ),
    Said(
        "azure",
        400,
        {
            "error": {
                "code": "400",
                "message": "The response was filtered.",
                "innererror": {"code": "ResponsibleAIPolicyViolation"},
            }
        },
        ModerationError,
    ),
    Said("azure", 400, openai("The prompt was filtered.", "contentFilter"), ModerationError),
    Said("sglang", 400, {"detail": "Prompt blocked by the safety checker"}, ModerationError),
    Said(
        "vllm-omni",
        400,
        openai("Guardrail blocked the prompt: unsafe", 400, "BadRequestError"),
        ModerationError,
    ),
    Said("fastvideo", 400, {"detail": "NSFW content detected in the prompt"}, ModerationError),
    Said("tensorrt", 400, tensorrt("Violates the content policy.", 400), ModerationError),
    Said(
        "litellm",
        400,
        litellm("BadRequestError", openai("Blocked.", "moderation_blocked"), "400"),
        ModerationError,
    ),
    Said(
        "litellm",
        400,
        openai(
            "litellm.ContentPolicyViolationError: OpenAIException - Your request was rejected by "
            "our safety system.",
            "400",
        ),
        ModerationError,
    ),
    Said(
        "litellm",
        500,
        litellm("E", openai("No.", "content_policy_violation"), "500"),
        ModerationError,
    ),
    Said("proxy", 400, openai("sentinel", "sentinel_block"), ModerationError),
    # What speaks of moderation and is none.
    Said(
        "openai",
        500,
        openai("The moderation service is unavailable.", "server_error", "server_error"),
        UnavailableError,
    ),
    Said(
        "vllm-omni",
        500,
        openai("Guardrail check failed: CUDA out of memory", 500, "InternalServerError"),
        UnavailableError,
    ),
    Said("openai", 503, openai("Blocked: moderation", "moderation_unavailable"), UnavailableError),
    Said(
        "openai",
        400,
        openai("Unknown parameter: 'moderation'.", "unknown_parameter"),
        RejectedError,
    ),
    # Quota and rate limits.
    Said(
        "openai",
        429,
        openai(
            "You exceeded your current quota, please check your plan and billing details.",
            "insufficient_quota",
            "insufficient_quota",
        ),
        QuotaError,
    ),
    Said(
        "openai",
        400,
        openai("Billing hard limit has been reached", "billing_hard_limit_reached"),
        QuotaError,
    ),
    Said("openai", 429, openai("Account is not active.", "billing_not_active"), QuotaError),
    Said("proxy", 402, {"detail": "Payment required"}, QuotaError),
    Said("proxy", 402, "nothing that is read", QuotaError),
    Said("new-api", 403, openai("quota is not enough", "insufficient_user_quota"), QuotaError),
    Said(
        "litellm",
        400,
        openai(
            "Budget has been exceeded! Current cost: 2, Max budget: 1", "400", "budget_exceeded"
        ),
        QuotaError,
    ),
    Said(
        "litellm",
        429,
        openai(
            "litellm.RateLimitError: OpenAIException - You exceeded your current quota, please "
            "check your plan and billing details.",
            "429",
            "throttling_error",
        ),
        QuotaError,
    ),
    Said("openai", 429, openai("Rate limit reached.", "rate_limit_exceeded"), RateLimitError),
    Said(
        "azure",
        429,
        openai("Too many running tasks", None, "video_generation_user_error"),
        RateLimitError,
    ),
    Said(
        "azure",
        429,
        openai("Requests have exceeded the call rate limit of your pricing tier.", "429"),
        RateLimitError,
    ),
    Said("vllm-omni", 429, openai("Queue is full", 429, "TooManyRequests"), RateLimitError),
    Said("sglang", 429, {"detail": "Too many requests"}, RateLimitError),
    # The model: ended, or not there.
    Said("openai", 410, openai("The Videos API has been shut down."), RetiredModelError),
    Said("openai", 410, "Gone", RetiredModelError),
    Said(
        "openai",
        404,
        openai(
            "The model `sora-2` has been deprecated, learn more here: "
            "https://platform.openai.com/docs/deprecations",
            "model_not_found",
        ),
        RetiredModelError,
    ),
    Said(
        "azure",
        400,
        openai("The model sora-2 version 2025-10-06 was retired.", "ModelDeprecated"),
        RetiredModelError,
    ),
    Said(
        "litellm",
        404,
        litellm("NotFoundError", openai("This model is no longer available."), "404"),
        RetiredModelError,
    ),
    Said(
        "openai",
        404,
        openai("The model `sora-9` does not exist or you do not have access.", "model_not_found"),
        RejectedError,
    ),
    Said(
        "azure",
        404,
        openai("The API deployment for this resource does not exist.", "DeploymentNotFound"),
        RejectedError,
    ),
    Said("openai", 400, openai("The parameter 'n' is deprecated.", "invalid_value"), RejectedError),
    Said(
        "vllm-omni",
        400,
        openai("Model `a` does not match the served model `b`.", 400, "BadRequestError"),
        RejectedError,
    ),
    # The rest.
    Said(
        "openai", 401, openai("Incorrect API key provided.", "invalid_api_key"), AuthenticationError
    ),
    Said("openai", 403, openai("Your organization must be verified."), AuthenticationError),
    Said("vllm-omni", 401, {"error": "Unauthorized"}, AuthenticationError),
    Said(
        "openai",
        400,
        openai("Invalid value: '5'. Supported: 4, 8, 12", "invalid_value"),
        RejectedError,
    ),
    Said("sglang", 422, {"detail": [{"loc": ["body", "size"], "msg": "bad"}]}, RejectedError),
    Said("fastvideo", 405, {"detail": "Method Not Allowed"}, RejectedError),
    Said("tensorrt", 422, tensorrt("Extra inputs are not permitted", 422), RejectedError),
    Said("tensorrt", 500, tensorrt("engine died", 500, "InternalServerError"), UnavailableError),
    Said(
        "litellm", 500, {"error": {"message": "litellm.Timeout", "code": "500"}}, UnavailableError
    ),
    Said("gateway", 502, "<html>Bad gateway</html>", UnavailableError),
]


def answered(said: Said, verb: str = "create") -> SoraError:
    body = said.body if isinstance(said.body, str) else json.dumps(said.body)
    profile = PROFILES[said.server] if said.server in HOSTED else SERVER.profile
    server = replace(SERVER, profile=profile)
    return status_error(server, httpx2.Response(said.status, content=body.encode()), verb=verb)


@pytest.mark.parametrize(
    "said", SAYINGS, ids=[f"{s.server} {s.status} {s.error.__name__}" for s in SAYINGS]
)
def test_what_a_server_says_to_a_create_is_the_error_that_it_means(said: Said) -> None:
    error = answered(said)
    assert type(error) is said.error
    assert error.next_step, "each says what to do next"
    if "base_url" in error.next_step and isinstance(error, RejectedError):
        assert error.status == 405, "an address is doubted only where it is the address"


def test_a_polls_404_or_410_is_a_video_that_is_not_there() -> None:
    for status in (404, 410):
        error = answered(Said("any", status, {"detail": "not found"}, SoraError), "retrieve")
        assert type(error) is VideoNotFoundError


@pytest.mark.parametrize(
    ("failure", "is_moderation"),
    [
        (Failure(message="Blocked.", code="moderation_blocked"), True),
        (Failure(message="Output was blocked by moderation"), True),
        (Failure(message="Guardrail blocked the video", code="500"), True),
        (Failure(message="The prompt violates our usage policies"), True),
        (Failure(message="CUDA out of memory", code="server_error"), False),
        (Failure(message="Moderation timed out", code="server_error"), False),
        (Failure(message="Moderation failed", code="moderation_error"), False),
        (Failure(message="The content server cannot be reached"), False),
        (Failure(message="a fox in a red coat", code="500"), False),
    ],
    ids=lambda value: value.message if isinstance(value, Failure) else "",
)
def test_a_jobs_failure_is_moderation_only_where_something_was_refused(
    failure: Failure, is_moderation: bool
) -> None:
    assert failure.is_moderation is is_moderation
