"""Rules: a script of what goes wrong, used up in order."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

RENDERS = ("create", "remix", "edit", "extend")
"""The operations that make a job."""

MAKING = (*RENDERS, "characters", "images", "image_edits")
"""The operations whose request has a prompt or a name; a rule's `match` is a part of it."""

OPERATIONS = (
    *MAKING,
    "retrieve",
    "list",
    "content",
    "delete",
    "character",
    "image_content",
    "models",
)

FATES = ("fail", "moderate", "stall")
"""How a job may end by a fault, which is settled when the job is made."""

_NUMBERED = ("status", "html", "cut", "short", "delay", "delay_after")
_PLAIN = ("drop", "drop_after", "garbage", "pass", "unknown_status", *FATES)


class FaultError(ValueError):
    """A rule says something that cannot be done."""


@dataclass
class Fault:
    """One rule: on this operation, do that, so many times.

    | do | what happens |
    | --- | --- |
    | `status:N[:CODE]` | an error answer with that status (and error code); nothing is processed |
    | `drop` | the connection is closed before the request is processed |
    | `drop_after` | the request is processed, then the connection is closed without an answer |
    | `html[:N]` | a page of HTML, as from a proxy, with status N or 200 |
    | `garbage` | status 200 and 4096 bytes that are no JSON and no MP4 |
    | `cut:BYTES` | the whole length is announced, the connection closes after so many bytes |
    | `short:BYTES` | a whole answer, but only so many bytes of its body |
    | `delay:SECONDS` | first wait; the next matching rule applies too |
    | `delay_after:SECONDS` | process, then wait, then answer |
    | `unknown_status[:WORD]` | a true answer, but every status reads WORD, or `dreaming` |
    | `fail`, `moderate` | the job is accepted and ends failed (where one is made) |
    | `stall` | the job is accepted and stops at 40 % (the same) |
    | `pass` | nothing but the headers |

    Attributes:
        on: The operation.
        do: What happens, as above.
        times: How often; None: for ever.
        match: Only where this is a part of the prompt, or of a character's name.
        headers: Added to the answer.
        chance: How likely it is met by a request that fits, above 0 and up to 1; where it
            is not, the next rule may be.
    """

    on: str
    do: str
    times: int | None = 1
    match: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    chance: float = 1.0

    def __post_init__(self) -> None:
        if self.on not in OPERATIONS:
            raise FaultError(f"'on' is {self.on!r}, not one of {', '.join(OPERATIONS)}")
        if self.verb in FATES and self.on not in RENDERS:
            raise FaultError(f"{self.verb!r} befalls a job, so it stands on {', '.join(RENDERS)}")
        if self.verb not in (*_NUMBERED, *_PLAIN):
            raise FaultError(f"'do' is {self.do!r}, not one of {', '.join(_NUMBERED + _PLAIN)}")
        if self.verb in _NUMBERED and not (self.verb == "html" and not self.argument):
            try:
                float(self.argument.partition(":")[0])
            except ValueError:
                raise FaultError(f"{self.do!r} needs a number: '{self.verb}:NUMBER'") from None

        times: Any = self.times  # these come from JSON: their types are hopes
        match: Any = self.match
        headers: Any = self.headers
        chance: Any = self.chance
        if times is not None and not (isinstance(times, int) and times > 0):
            raise FaultError(f"'times' is {times!r}, neither a count from 1 nor null")
        if not (match is None or isinstance(match, str)) or not isinstance(headers, Mapping):
            raise FaultError("'match' is a text or null, 'headers' an object")
        if isinstance(chance, bool) or not (isinstance(chance, int | float) and 0 < chance <= 1):
            raise FaultError(f"'chance' is {chance!r}, not a number above 0 and up to 1")

    @property
    def verb(self) -> str:
        """The word before the colon."""
        return self.do.partition(":")[0]

    @property
    def argument(self) -> str:
        """What stands after the colon."""
        return self.do.partition(":")[2]

    @property
    def number(self) -> float:
        """The number after the colon."""
        return float(self.argument.partition(":")[0])

    def as_rule(self) -> dict[str, Any]:
        """The rule as it would be written, with the times that are left."""
        return {
            "on": self.on,
            "do": self.do,
            "times": self.times,
            "match": self.match,
            "headers": dict(self.headers),
            "chance": self.chance,
        }


@dataclass
class Faults:
    """The rules that are left, in order.

    Attributes:
        rules: Those that may still be met.
        met: How often each was met, by operation and `do`.
        dice: Decides on rules that are met by chance.
    """

    rules: list[Fault] = field(default_factory=list)
    met: Counter[str] = field(default_factory=Counter)
    dice: Random = field(default_factory=Random)

    @classmethod
    def read(cls, script: str | None) -> "Faults":
        """Rules from a JSON text, or from the file that it names."""
        if not script:
            return cls()
        text = script if script.lstrip().startswith(("[", "{")) else Path(script).read_text("utf-8")
        faults = cls()
        faults.add(json.loads(text))
        return faults

    def add(self, rules: Any) -> None:
        """Append rules, all or, if one is wrong, none.

        Args:
            rules: One, a list of them, or an object with that list under `faults`; a `seed`
                in it makes the same chances again.
        """
        seed: Any = None
        if isinstance(rules, dict) and "faults" in rules:
            seed, rules = rules.get("seed"), rules["faults"]
        if isinstance(rules, dict):
            rules = [rules]
        if not isinstance(rules, list):
            raise FaultError("faults are a list of rules")
        try:
            self.rules += [Fault(**rule) for rule in rules]
        except TypeError as error:
            raise FaultError(f"a rule has on, do, times, match, headers, chance: {error}") from None
        if seed is not None:
            self.dice = Random(str(seed))  # noqa: S311 - no secret

    def take(self, operation: str, prompt: str) -> list[Fault]:
        """Use up the rules that this request meets: delays, and the first other one."""
        met: list[Fault] = []
        for fault in self.rules:
            fits = fault.on == operation and (fault.match is None or fault.match in prompt)
            if fits and fault.times != 0 and self._comes(fault):
                self.met[f"{operation} {fault.do}"] += 1
                if fault.times is not None:
                    fault.times -= 1
                met.append(fault)
                if fault.verb != "delay":
                    break
        self.rules = [fault for fault in self.rules if fault.times != 0]
        return met

    def _comes(self, fault: Fault) -> bool:
        # A script without chances throws no dice, so that its rules stay an exact order.
        return fault.chance == 1 or self.dice.random() < fault.chance
