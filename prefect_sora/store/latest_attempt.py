"""Latest attempt: which of a render's attempts says where it stands; no store is asked here.

The newest attempt does, with two exceptions that outrank all later attempts: one that is
kept, and one that was accepted and has not failed. The answer to an accepted one may have come
late, when later attempts had begun and been refused; it is paid for nevertheless.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar


class Attempt(Protocol):
    """What is read of one attempt; a torn record counts as absent."""

    @property
    def attempt(self) -> int:
        """Its number, from 1."""

    @property
    def is_kept(self) -> bool:
        """Whether its video, or its pictures, are in the store."""

    @property
    def is_on_its_way(self) -> bool:
        """Whether the server accepted it, and it has not failed."""


_A = TypeVar("_A", bound=Attempt)


def to_read(kinds: Mapping[int, Collection[str]]) -> Iterator[list[int]]:
    """Which attempts have to be read, in groups: a later group only where none before it is kept.

    Args:
        kinds: What stands in the render's folder: the kinds of record of each attempt.
    """
    stored = sorted(n for n, found in kinds.items() if "stored" in found)
    if stored:
        yield stored
    others = {n for n, found in kinds.items() if "accepted" in found} | {max(kinds)}
    yield sorted(others.difference(stored))


def telling(attempts: Sequence[_A]) -> _A:
    """Choose the attempt that tells where the render stands.

    Args:
        attempts: What was read of them, at least of the newest or of one that is kept.
    """
    newest_first = sorted(attempts, key=lambda one: one.attempt, reverse=True)
    kept = (one for one in newest_first if one.is_kept)
    on_its_way = (one for one in newest_first if one.is_on_its_way)
    return next(kept, None) or next(on_its_way, None) or newest_first[0]
