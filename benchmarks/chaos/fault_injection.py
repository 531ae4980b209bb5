"""Fault injection: the share of the requests that fails, on the local renderer and at a gateway."""

from typing import Any

from tests.support.stranger.character import Manner

GETS = 0.3
REJECTED = 0.3
LOST_ANSWERS = 0.2
CUT = 0.3

_GETS = ("status:500", "status:502", "status:503", "drop", "delay")
_CUTS = (0, 300, 3_000, 10_000)


def rules(patience_s: float) -> list[dict[str, Any]]:
    """What goes wrong from here on.

    Args:
        patience_s: How long a client waits: a timeout is an answer that comes later.
    """
    gets = [f"delay:{patience_s * 1.5:g}" if do == "delay" else do for do in _GETS]
    failing = {do: GETS / len(gets) for do in gets}
    rejected = {"status:429": REJECTED / 2, "status:503": REJECTED / 2}
    cut = {f"cut:{size}": CUT / len(_CUTS) for size in _CUTS}
    return [
        *_by_chance("create", {**rejected, "drop_after": LOST_ANSWERS}),
        *_by_chance("retrieve", failing),
        *_by_chance("list", failing),
        *_by_chance("content", {**failing, **cut}),
    ]


def _by_chance(on: str, shares: dict[str, float]) -> list[dict[str, Any]]:
    """Rules that befall these shares of all requests; each sees what those before it left."""
    left, made = 1.0, []
    for do, share in shares.items():
        headers = {"Retry-After": "1"} if do == "status:429" else {}
        made.append({"on": on, "do": do, "times": None, "chance": share / left, "headers": headers})
        left -= share
    return made


LATEST_S = 1.5
"""How long the gateway keeps a create that it passes on after it has answered for it."""

_CREATES: tuple[tuple[float, dict[str, Any]], ...] = (
    (0.10, {}),  # accepted, and it hangs up
    (0.04, {"forwards": "never"}),
    (0.06, {"forwards": "late", "status": 503, "late_s": LATEST_S}),
    (0.04, {"forwards": "late", "status": 502, "body": "page", "late_s": LATEST_S / 2}),
    (0.04, {"forwards": "late", "late_s": LATEST_S / 3}),
    (0.05, {"status": 500, "body": "page"}),
    (0.04, {"status": 504, "holds_s": 1.0}),
    (0.03, {"status": 503, "body": "json"}),
    (0.04, {"forwards": "never", "status": 502, "body": "empty"}),
    (0.08, {"forwards": "never", "status": 429, "headers": {"Retry-After": "1"}}),
)
_LONGEST_PAUSE = {"status": 429, "forwards": "never", "headers": {"Retry-After": "3600"}}


def manners(patience_s: float) -> list[Manner]:
    """What a gateway does from here on, by the dice.

    Args:
        patience_s: How long a client waits: a timeout is an answer that comes later.
    """
    gets: list[dict[str, Any]] = [
        {"status": 500},
        {"status": 502, "body": "page"},
        {"status": 503, "body": "empty"},
        {"status": None},
        {"status": 0, "holds_s": patience_s * 1.5},
    ]
    failing = [(GETS / len(gets), one) for one in gets]
    cut = [(CUT / len(_CUTS), {"status": 0, "cut": size}) for size in _CUTS]
    made: list[Manner] = []
    for on, shares in (
        ("create", _CREATES),
        ("retrieve", [*failing, (0.003, _LONGEST_PAUSE)]),
        ("list", failing),
        ("content", failing + cut),
    ):
        left = 1.0
        for share, what in shares:
            made.append(Manner.read({"on": on, "times": None, "chance": share / left, **what}))
            left -= share
    return made
