"""Plan: a batch's rows are checked, and its renders found and priced, before any is sent."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from prefect_sora.errors import (
    BudgetExceededError,
    InvalidRequestError,
)
from prefect_sora.requests.table import Row, refuse_broken
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers import video_models
from prefect_sora.servers.estimates import Estimate, estimate, unknown_price
from prefect_sora.servers.profiles import Service
from prefect_sora.servers.request_checks import check_offered
from prefect_sora.servers.server import Server
from prefect_sora.servers.video_prices import dollars


@dataclass(frozen=True)
class Plan:
    """What a batch will do, checked, with nothing sent yet.

    Attributes:
        rows: All rows.
        renders: Those that are rendered: sound, and each request once.
        first: The row that a duplicate repeats, by the duplicate's number.
        estimate: What `renders` cost.
        warnings: What is doubtful about them, each once.
    """

    rows: tuple[Row, ...]
    renders: tuple[Row, ...]
    first: dict[int, int]
    estimate: Estimate
    warnings: tuple[str, ...]

    @property
    def broken(self) -> list[Row]:
        """The rows that cannot be sent."""
        return [row for row in self.rows if row.problems]

    def __str__(self) -> str:
        """One line."""
        left_out = f", {len(self.first)} of them repeat another" if self.first else ""
        left_out += f", {len(self.broken)} broken" if self.broken else ""
        labels = dict.fromkeys(name for row in self.rows for name in row.labels)
        own = f"; your own columns go with the rows: {', '.join(labels)}" if labels else ""
        price = "price unknown" if f"{self.estimate}" == "unknown" else self.estimate
        told = f"{counted(len(self.renders), 'render')}, {price}{own}"
        return f"{counted(len(self.rows), 'row')}{left_out}: {told}"


def plan(
    rows: Sequence[Row],
    server: Server,
    *,
    service: Service | None = None,
    max_cost_usd: float | None = None,
    skip_bad_rows: bool = False,
    begun: Collection[int] = (),
) -> Plan:
    """Check all rows, find those that repeat another, and price the rest.

    Args:
        rows: From `tables`.
        server: Its prices count.
        service: Whose own service it is, where that decides which models have ended.
        max_cost_usd: What all may cost together.
        skip_bad_rows: Go on without those that cannot be sent.
        begun: Numbers of rows that were sent before, and cost nothing again.

    Raises:
        InvalidRequestError: A row cannot be sent, or there is a budget and a price is
            not known. Nothing was sent.
        BudgetExceededError: The estimate is over the budget. Nothing was sent.
    """
    checked, warnings = _checked(rows, service, server)
    if not skip_bad_rows:
        refuse_broken(checked)
    renders: list[Row] = []
    first: dict[int, int] = {}
    seen: dict[str, int] = {}
    for row in checked:
        if row.request is None:
            continue
        same = seen.setdefault(as_asked(row.request), row.number)
        if same == row.number:
            renders.append(row)
        else:
            first[row.number] = same
    if not renders:
        refuse_broken(checked, skipped=skip_bad_rows)
        raise InvalidRequestError(
            "The batch has no rows.", next_step="Give a request for each video."
        )
    cost = estimate(_requests(renders), server)
    if max_cost_usd is not None:
        _refuse_over(cost, renders, max_cost_usd, begun)
    return Plan(tuple(checked), tuple(renders), first, cost, tuple(warnings))


def counted(number: int, noun: str) -> str:
    """Write a number of things."""
    return f"{number} {noun}{'s' * (number != 1)}"


def as_asked(request: VideoRequest) -> str:
    """Write all that makes a request what it is, and not the labels of its row."""
    return request.model_dump_json(exclude={"labels"})


def _checked(
    rows: Sequence[Row], service: Service | None, server: Server
) -> tuple[list[Row], list[str]]:
    """Check each row against the catalogue, ours and the server's own, too."""
    checked: list[Row] = []
    warnings: dict[str, None] = {}
    for row in rows:
        try:
            if row.request is not None:
                doubtful = video_models.check(row.request, service, profile=server.profile)
                check_offered(row.request, server)
                warnings.update(dict.fromkeys(doubtful))
        except InvalidRequestError as error:
            row = replace(row, request=None, problems=(error.message.rstrip("."),))
        checked.append(row)
    return checked, [*warnings]


def _refuse_over(
    told: Estimate, renders: Sequence[Row], max_cost_usd: float, begun: Collection[int]
) -> None:
    new = [pair for pair in zip(renders, told.prices, strict=True) if pair[0].number not in begun]
    told = Estimate(tuple(price for _, price in new))
    for row, price in new:
        # A row that starts from another video is priced when that is looked up, before sending.
        if price.usd is None and row.request and row.request.kind == "create":
            error = unknown_price(price.why)
            error.message = f"{row.where}: {error.message}"
            raise error
    if told.known_usd > max_cost_usd + 1e-6:
        raise BudgetExceededError(
            f"The {len(new)} renders {'that are not begun ' if begun else ''}would cost {told}, "
            f"and max_cost_usd allows {dollars(max_cost_usd)}.",
            budget_usd=max_cost_usd,
            spent_usd=0.0,
            asked_usd=told.known_usd,
            next_step="Raise it, or take out rows.",
        )


def _requests(rows: Sequence[Row]) -> Iterator[VideoRequest]:
    return (row.request for row in rows if row.request is not None)
