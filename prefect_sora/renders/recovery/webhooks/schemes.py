"""Schemes: how servers sign a webhook, and what of it is believed: that it names a job."""

import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import time
from typing import Any, Final

from prefect_sora.errors import InvalidRequestError
from prefect_sora.servers.profiles import found
from prefect_sora.servers.server import Server

TOLERANCE_SECONDS: Final = 300
"""How old a webhook may be, and how far in the future. OpenRouterTeam/docs (2026-08-22); the
library of Standard Webhooks has the same."""

_ENDS: Final = frozenset(
    {
        *(f"video.{end}" for end in ("completed", "failed")),
        *(f"video.generation.{end}" for end in ("completed", "failed", "cancelled", "expired")),
    }
)
"""OpenAI's events, and OpenRouter's, of which anything follows."""


class NotSignedError(Exception):
    """A webhook that is not the server's, or not of now."""


@dataclass(frozen=True)
class Event:
    """What a server's webhook tells.

    Attributes:
        id: Its own, the same however often it comes.
        video_id: The job that has ended; None where it tells of something else.
    """

    id: str
    video_id: str | None


@dataclass(frozen=True)
class Scheme:
    """How one server's webhooks are checked.

    Attributes:
        header: The header without which a webhook is not of this scheme.
    """

    header: str
    _secrets: tuple[str, ...]
    _check: Callable[[str, Mapping[str, str], bytes], str]

    def read(self, headers: Mapping[str, str], body: bytes) -> Event:
        """Check a webhook against each secret, and read what it tells.

        Args:
            headers: By their names in lower case.
            body: The bytes as they came.

        Raises:
            NotSignedError: None of the secrets has signed it, or it is too old, from the future,
                or no event.
        """
        why: Exception | None = None
        for secret in self._secrets:
            try:
                signed_id = self._check(secret, headers, body)
                break
            # Whatever a stranger's bytes make a library raise, they are refused.
            except Exception as error:
                why = error
        else:
            raise NotSignedError(str(why) or "It is not signed.")
        try:
            event: Any = json.loads(body)
        except (ValueError, RecursionError):
            raise NotSignedError("It is no JSON.") from None
        kind, video_id, status = (found(event, at) for at in ("type", "data.id", "data.status"))
        if not isinstance(kind, str):
            raise NotSignedError("It is no event.")
        if kind not in _ENDS or not isinstance(video_id, str) or not video_id:
            return Event(signed_id, None)
        # OpenRouter's header of this name is not signed; what it is made of is.
        return Event(signed_id or f"{video_id}-{status or kind}", video_id)


def scheme_of(server: Server) -> Scheme:
    """Say how a server's webhooks are checked.

    Raises:
        InvalidRequestError: It sends none, no secret is known, or one is of another form.
    """
    name = server.profile.webhook_scheme
    if name is None:
        raise InvalidRequestError(
            f"{server.label} ({server.profile.name}) sends no webhooks.",
            next_step="Its jobs are asked for as before. A server that sends them all the same has "
            'a profile of your own: {"base": "generic", "webhook_scheme": "standard"}.',
        )
    secrets = [one.get_secret_value() for one in server.webhooks.secrets] if server.webhooks else []
    if not secrets:
        raise InvalidRequestError(
            f"The secret that {server.label} signs its webhooks with is not known.",
            next_step="Set PREFECT_SORA_WEBHOOK_SECRET, or webhook_secret of its block.",
        )
    if name == "openrouter":
        return Scheme("x-openrouter-signature", tuple(secrets), _openrouter)
    _check_standard(secrets, server)
    return Scheme("webhook-signature", tuple(secrets), _standard)


def _check_standard(secrets: Sequence[str], server: Server) -> None:
    from standardwebhooks import Webhook

    for secret in secrets:
        try:
            Webhook(secret)
        except (binascii.Error, ValueError, RuntimeError):
            bad = True
        except Exception as error:  # the library's own: an empty one
            bad = bool(error)
        else:
            bad = False
        if bad:
            raise InvalidRequestError(
                f"A webhook secret of {server.label} is not as Standard Webhooks has it.",
                next_step="Copy it whole: whsec_ and what follows, which is base64.",
            )


def _standard(secret: str, headers: Mapping[str, str], body: bytes) -> str:
    """Check by the standard's own library; the id is signed, too."""
    from standardwebhooks import Webhook

    Webhook(secret).verify(body, dict(headers), json_parse=False)
    return headers["webhook-id"]


def _openrouter(secret: str, headers: Mapping[str, str], body: bytes) -> str:
    """Check `t=<Unix seconds>,v1=<hex>`: HMAC-SHA256 of `<t>,<body>` by the secret as it is.

    OpenRouterTeam/docs (2026-08-22).
    """
    parts = [part.strip().partition("=") for part in headers["x-openrouter-signature"].split(",")]
    times = [value for name, _, value in parts if name == "t"]
    if len(times) != 1 or not times[0].isascii() or not times[0].isdecimal():
        raise NotSignedError("Its signature has no time.")
    if abs(time() - int(times[0][:15])) > TOLERANCE_SECONDS:
        raise NotSignedError("It is too old, or from the future.")
    message = times[0].encode() + b"," + body
    expected = hmac.new(secret.encode(), message, hashlib.sha256).hexdigest().encode()
    given = [value.encode() for name, _, value in parts if name == "v1"]
    if not any([hmac.compare_digest(expected, one) for one in given]):  # noqa: C419 - all of them
        raise NotSignedError("No signature fits.")
    return ""
