"""Mutants: what judges and decides is changed in every small way, and a test has to notice.

`python -m benchmarks.mutants` takes a few minutes. It ends with an error where a change is
noticed by no test and not named below with its reason, or where more than 5 % live.
Which modules and tests: `[tool.mutmut]` in pyproject.toml.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

MOST_LIVING: Final = 0.05

ALIVE: Final = {
    "jobs = sorted(seen.jobs, key=lambda job: job.created_at or 1.0)": (
        "no job is of the first second of 1970: one without a time comes first either way"
    ),
    "return Wait(min(first_s * 1.5 ** min(call.waits, 11), most_s))": (
        "the longest pause is reached after six; ten only keeps the power small"
    ),
    "pause_s = max(asked_s, min(first_s * 2 ** min(call.busy, 11), most_s))": (
        "the longest pause is reached after four; ten only keeps the power small"
    ),
    'without paid="no",': "the same is what an error says where nothing else is said",
}
"""What a mutant has in place of our line, and why no test can notice: it does the same."""


def mutmut(*words: str) -> str:
    """Run the tool and return what it printed."""
    told = subprocess.run(
        [sys.executable, "-m", "mutmut", *words], capture_output=True, text=True, check=False
    )
    if told.returncode:
        sys.exit(f"mutmut {words[0]} ended with {told.returncode}:\n{told.stdout[-3000:]}")
    return told.stdout


def change_of(name: str) -> str:
    """What a mutant has in place of our line, or which it goes without."""
    lines = [line for line in mutmut("show", name).splitlines() if line[:3] not in ("---", "+++")]
    put, taken = (
        "".join(line[1:].strip() for line in lines if line[:1] == sign) for sign in ("+", "-")
    )
    return put or f"without {taken}"


def main() -> int:
    """Run all mutants, and say which live."""
    shutil.rmtree(Path("mutants"), ignore_errors=True)  # it would not see that a test has changed
    mutmut("run", "--max-children", "2")
    outcomes = dict(
        line.strip().rsplit(": ", 1)
        for line in mutmut("results", "--all", "true").splitlines()
        if "__mutmut_" in line
    )
    noticed = {"killed", "timeout"}
    living = {name: change_of(name) for name, end in outcomes.items() if end not in noticed}
    for name, change in living.items():
        print(f"{outcomes[name]}  {name}\n    {change}\n    {ALIVE.get(change, 'NOT NAMED')}")
    share = len(living) / len(outcomes)
    print(f"{len(outcomes)} mutants, {len(living)} live ({share:.1%})")
    unnamed = [change for change in living.values() if change not in ALIVE]
    return 1 if unnamed or share > MOST_LIVING else 0


if __name__ == "__main__":
    sys.exit(main())
