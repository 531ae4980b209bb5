"""Why a server refused or failed, read from errors of all shapes, and what kind of refusal it is.

Codes come first, because they are made for programs. A message decides only where the code
says nothing, and only if the message names a topic and says that something was refused:
"the moderation service is unavailable" is an outage, and no verdict on a prompt.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from prefect_sora.limits import limits
from prefect_sora.servers.protocol.http.json_values import cleaned

_MODERATION_CODES: Final = re.compile(
    # moderation_blocked, input_moderation; content_policy_violation, content_filter and
    # contentFilter; ResponsibleAIPolicyViolation; sentinel_block was seen on a proxy.
    r"moderation(?!_(?:error|unavailable|timeout|failed))|content_?policy|content_?filter"
    r"|responsible_?ai_?policy|sentinel_?block|guardrail|safety_?(?:violation|block)|nsfw",
    re.IGNORECASE,
)
_TOPIC: Final = re.compile(
    r"\bmoderation\b|safety (?:system|filter|check|polic)|content[ _]?(?:policy|policies|filter)"
    r"|usage polic|guard-?rail|responsible ai|\blikeness\b|public figure|real (?:person|people)"
    r"|human faces?\b|realistic (?:person|people)|copyright|intellectual property"
    r"|third-party content|\bnsfw\b",
    re.IGNORECASE,
)
_VERDICT: Final = re.compile(
    r"block|reject|refus|flagged|violat|not (?:allowed|permitted|supported)|disallow|prohibit"
    r"|denied|against|unsafe|cannot|can't|can not|unable|filtered|detected|contain",
    re.IGNORECASE,
)
_OUTAGE: Final = re.compile(
    r"unavailable|timed? ?out|out of memory|internal (?:server )?error|overloaded"
    r"|could not be (?:reached|loaded)|failed to (?:reach|load|start|connect)"
    r"|connection (?:error|refused|reset|closed|aborted|failed)",
    re.IGNORECASE,
)
_QUOTA: Final = re.compile(
    # insufficient_quota and billing_hard_limit_reached are OpenAI's, budget_exceeded LiteLLM's,
    # insufficient_user_quota new-api's.
    r"insufficient_(?:\w+_)?(?:quota|balance|credits?|funds)|billing|budget_?exceeded"
    r"|(?:quota|credits?|balance)_?exhausted|payment_?required|out_of_credits",
    re.IGNORECASE,
)
_QUOTA_SAID: Final = re.compile(
    r"exceeded your current quota|billing (?:hard )?limit|budget has been exceeded"
    r"|credit balance is too low|(?:insufficient|not enough) (?:quota|balance|credits?|funds)"
    r"|quota is not enough",
    re.IGNORECASE,
)
_MODEL_CODES: Final = re.compile(
    # DeploymentNotFound is Azure's, and means the name of a model there.
    r"model_?(?:not_?found|deprecated|retired)|deployment_?not_?found|deprecated_?model",
    re.IGNORECASE,
)
_VIDEO_UNKNOWN: Final = "task_not_exist"
"""new-api's code, with status 400 (relay/relay_task.go, 2026)."""
_MODEL_UNKNOWN: Final = re.compile(
    r"(?:model|deployment)\b.{0,200}?\b(?:(?:does|do) not (?:exist|match)|not found|is not served"
    r"|is unknown)|(?:unknown|invalid|no such) (?:model|deployment)",
    re.IGNORECASE | re.DOTALL,
)
_SECOND_HAND: Final = re.compile(
    # What a gateway says where the server behind it is silent: LiteLLM's
    # APIConnectionError and "Server disconnected", new-api's do_request_failed.
    r"connection|disconnect|connect error|time[ds]?[ _-]?out|deadline|upstream|gateway|proxy"
    r"|backend|unreachable|could not reach|reset by|do_request_failed|bad_response|read_response",
    re.IGNORECASE,
)
_RETIRED_CODES: Final = re.compile(r"model_?(?:deprecated|retired)|deprecated_?model", re.I)
_RETIRED_SAID: Final = re.compile(
    r"(?:\b(?:model|api|deployment|endpoint)\b.{0,200}?)\b(?:(?:been|was|were|is|are) "
    r"(?:now )?(?:retired|deprecated|shut ?down|sunset|discontinued|decommissioned|removed)"
    r"|no longer (?:available|supported|offered|served)|reached (?:its )?end of life)",
    re.IGNORECASE | re.DOTALL,
)


_WORD: Final = 200
"""Characters of a code: words for programs have some tens. Ours."""


class Failure(BaseModel):
    """Why a request or a job failed, whatever shape the server gave it."""

    message: str = ""
    code: str | None = None
    type: str | None = None
    metadata: Mapping[str, Any] = {}

    @property
    def is_moderation(self) -> bool:
        """Moderation refused it, so asking again with the same request is of no use."""
        return self.is_coded_moderation or bool(
            _TOPIC.search(self.message)
            and _VERDICT.search(self.message)
            and not _OUTAGE.search(self.message)
        )

    @property
    def is_coded_moderation(self) -> bool:
        """Moderation refused it, as a code of the server says, and not only its words."""
        flagged = "flagged_input" in self.metadata  # OpenRouterTeam/docs (2026-08-22)
        return flagged or any(_MODERATION_CODES.search(word) for word in self._codes)

    def names(self, *words: str) -> bool:
        """Whether one of these words stands in its metadata."""
        return any(value in words for value in self.metadata.values() if isinstance(value, str))

    @property
    def is_quota(self) -> bool:
        """The account's quota or credit is used up."""
        return any(_QUOTA.search(word) for word in self._codes) or bool(
            _QUOTA_SAID.search(self.message)
        )

    @property
    def is_about_the_model(self) -> bool:
        """The server has no model of this name, or not for us."""
        return self.is_coded_unknown_model or bool(_MODEL_UNKNOWN.search(self.message))

    @property
    def is_coded_unknown_model(self) -> bool:
        """The model is unknown, as a code of the server says, and not only its words."""
        return any(_MODEL_CODES.search(word) for word in self._codes)

    @property
    def is_unknown_video(self) -> bool:
        """The server knows no such job, said by a code and not by the status."""
        return self.code == _VIDEO_UNKNOWN

    @property
    def is_retirement(self) -> bool:
        """The model, or the whole video API, was ended."""
        return any(_RETIRED_CODES.search(word) for word in self._codes) or bool(
            _RETIRED_SAID.search(self.message)
        )

    @property
    def is_second_hand(self) -> bool:
        """It tells of a server behind this one, whose answer did not come or was not understood."""
        return any(_SECOND_HAND.search(text) for text in (self.message, *self._codes))

    @property
    def _codes(self) -> list[str]:
        return [word for word in (self.code, self.type) if word]


def read_failure(value: object) -> Failure | None:
    """Read an error that is an object, a string, null, or JSON inside a message."""
    if not value:
        return None
    if isinstance(value, str):
        inner = _json_object(value)
        return (read_failure(inner) if inner else None) or Failure(message=_short(value))
    if not isinstance(value, Mapping):
        return Failure(message=_short(str(value)))
    if isinstance(value.get("error"), (Mapping, str)) and value["error"]:
        inside = read_failure(value["error"])
        if inside and isinstance(value["error"], str) and isinstance(value.get("code"), str):
            return inside.model_copy(update={"code": inside.code or value["code"]})
        return inside
    detail = value.get("message") or value.get("detail") or ""
    nested = read_failure(_json_object(detail)) if isinstance(detail, str) else None
    if nested and nested.message:
        return nested
    return Failure(
        message=_short(detail if isinstance(detail, str) else json.dumps(detail)),
        code=_code_of(value),
        type=str(value["type"])[:_WORD] if value.get("type") else None,
        metadata=metadata if isinstance(metadata := value.get("metadata"), Mapping) else {},
    )


def _code_of(value: Mapping[str, Any]) -> str | None:
    code, inner = value.get("code"), value.get("innererror")
    deeper = inner.get("code") if isinstance(inner, Mapping) else None
    if deeper is None and isinstance(metadata := value.get("metadata"), Mapping):
        deeper = metadata.get("error_type") or metadata.get("limit_source")
    # The outer code of Azure and OpenRouter may be no more than the status.
    if deeper and (code is None or str(code).isdigit()):
        code = deeper
    return None if code is None else str(code)[:_WORD]


def _short(text: str, times: int = 1) -> str:
    """Cut off what nobody reads, before expressions search it."""
    return text[: limits().message_max_characters * times]


def _json_object(text: str) -> dict[str, Any] | None:
    """Find the object that a proxy has put into its message, with its own words around it."""
    start = text.find("{")
    if start < 0:
        return None
    try:
        value = cleaned(json.JSONDecoder().raw_decode(_short(text, 16), start)[0])
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
