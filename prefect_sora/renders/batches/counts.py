"""Counts: how far a batch is, and what it has spent."""

from dataclasses import dataclass

from prefect_sora.servers.video_prices import dollars


@dataclass
class Counts:
    """How far a batch is.

    Attributes:
        queued: Renders that are not begun.
        rendering: Renders under way.
        kept: Renders whose video is in the store.
        failed: Renders that made no video.
        already: How many of the kept ones an earlier run has kept: nothing is paid for them now.
        earlier_usd: What those cost then, as far as that is known.
        spent_usd: What was paid: by the server's word, else by its prices, where these are known;
            renders that go on after their wait has ended are counted, too.
        unpriced: How many of those have no known price.
        doubtful: How many failed ones may have been charged all the same, nobody knows how much.
    """

    queued: int = 0
    rendering: int = 0
    kept: int = 0
    failed: int = 0
    already: int = 0
    earlier_usd: float = 0.0
    spent_usd: float = 0.0
    unpriced: int = 0
    doubtful: int = 0

    @property
    def total(self) -> int:
        """All renders."""
        return self.queued + self.rendering + self.kept + self.failed

    @property
    def spent(self) -> str:
        """The money; what is not known is never counted as 0."""
        told = dollars(self.spent_usd)
        if self.unpriced:
            known = f"{told} and " if self.spent_usd else ""
            told = f"{known}{self.unpriced} of unknown price"
        told += " spent"
        one = self.doubtful == 1
        perhaps = "1 failed one" if one else f"{self.doubtful} failed ones"
        return f"{told}, and {perhaps} may be charged, too" if self.doubtful else told

    def __str__(self) -> str:
        """One line."""
        already = f" ({self.already} already)" if self.already else ""
        return (
            f"{self.kept} kept{already}, {self.rendering} rendering, {self.queued} queued, "
            f"{self.failed} failed, {self.spent}"
        )
