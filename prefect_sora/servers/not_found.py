"""Not found: when to believe a server that says that it does not know a job.

Behind one address there may be several replicas, and each may know the jobs that it
accepted itself. So one answer comes from one replica, and proves nothing about a
paid video.
"""

from dataclasses import dataclass, field
from typing import Final

from prefect_sora.limits import limits

ROUTE_ALIKE: Final = (
    "Some answers said that there is no such job, and others showed it: there are replicas, each "
    "with jobs of its own. Route all requests of a client to the same one, or run one: "
    "docs/recovery.md tells how."
)


@dataclass
class Absence:
    """What a server has said of one job that it did not know.

    Attributes:
        lasting_s: How long the server must say so: its profile's `lost_after_s`.
        needed: How many answers in a row must say so at least.
        answers: How often the server has said so since it last knew the job.
        known: Whether the server ever knew the job.
        contradicted: Whether the server knew the job, then did not, then knew it again.
    """

    lasting_s: float
    needed: int = field(default_factory=lambda: limits().absent_answers)
    answers: int = 0
    known: bool = False
    contradicted: bool = False
    _since: float = 0.0

    def found(self) -> bool:
        """Take note that the job is known; say whether that shows replicas for the first time."""
        shows_it = self.known and self.answers > 0 and not self.contradicted
        self.known, self.answers = True, 0
        self.contradicted = self.contradicted or shows_it
        return shows_it

    def missed(self, now: float) -> bool:
        """Take note that the job is not known; say whether that may be believed.

        After one contradiction it is never believed: another replica may still know the job.

        Args:
            now: A clock's seconds, always the same clock's.
        """
        if not self.answers:
            self._since = now
        self.answers += 1
        long_enough = now - self._since >= self.lasting_s
        return long_enough and self.answers >= self.needed and not self.contradicted

    @property
    def pace_s(self) -> float:
        """The longest pause between two questions that brings enough answers in time."""
        return self.lasting_s / self.needed
