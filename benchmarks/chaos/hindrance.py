"""Hindrance: the share of the requests that fails, as rules for the local renderer."""

from typing import Any

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
