"""Estimate: what requests will cost, before any of them is sent."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from prefect_sora.errors import InvalidRequestError
from prefect_sora.handles import StoredVideo
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.costs.catalogue import wanted_of
from prefect_sora.servers.server import Server
from prefect_sora.servers.video_prices import HOW_TO_GIVE_ONE, dollars

_SOURCE: Final = "the size and length of its source are not known before"


@dataclass(frozen=True)
class Price:
    """What one request costs.

    Attributes:
        usd: In USD; None where it is not known.
        why: Why it is not known.
    """

    usd: float | None
    why: str | None = None


@dataclass(frozen=True)
class Estimate:
    """What several requests cost, each and together.

    Attributes:
        prices: One for each request, in their order.
    """

    prices: tuple[Price, ...]

    @property
    def known_usd(self) -> float:
        """The sum of the prices that are known, in USD."""
        return round(sum(price.usd or 0.0 for price in self.prices), 6)

    @property
    def unknown(self) -> int:
        """How many requests have no known price."""
        return sum(price.usd is None for price in self.prices)

    @property
    def usd(self) -> float | None:
        """The total in USD; None where any price is not known."""
        return None if self.unknown else self.known_usd

    @property
    def whys(self) -> list[str]:
        """Why prices are not known, each reason once."""
        return list(dict.fromkeys(price.why for price in self.prices if price.why))

    def __str__(self) -> str:
        """The total; what is not known is never counted as 0."""
        if not self.unknown:
            return dollars(self.known_usd)
        if self.unknown == len(self.prices):
            return "unknown"
        return f"{dollars(self.known_usd)} and {self.unknown} of unknown price"


def price(request: VideoRequest, server: Server, source: StoredVideo | None = None) -> Price:
    """Price one request; nothing is asked of the server.

    Args:
        request: What is to be rendered.
        server: By whose prices.
        source: The clip that it starts from, where the store has that.
    """
    if request.kind == "existing":
        return Price(0.0)  # whoever rendered it has paid
    if request.kind == "create":
        usd = server.cost_usd(request.model, request.size, request.seconds, request)
        return Price(usd, None if usd is not None else _why(request, server))
    # A video that starts from another has the other's size and length. An extension
    # says how much it adds, and only that is charged.
    length = round(source.duration_seconds) if source and source.duration_seconds else None
    seconds = request.seconds if request.kind == "extend" else length
    model, size = (source.model, f"{source.width}x{source.height}") if source else (None, None)
    usd = server.cost_usd(request.model or model, size, seconds)
    return Price(usd, None if usd is not None else _SOURCE)


def estimate(requests: Iterable[VideoRequest], server: Server) -> Estimate:
    """Price requests, each and together; nothing is asked of the server."""
    return Estimate(tuple(price(request, server) for request in requests))


def unknown_price(why: str | None) -> InvalidRequestError:
    """Say that a budget cannot be kept where a price is not known."""
    return InvalidRequestError(
        f"There is a budget, and the price is not known: {why or _SOURCE}.",
        next_step=f"{HOW_TO_GIVE_ONE}",
    )


def _why(request: VideoRequest, server: Server) -> str:
    if offer := server.offer(request.model):
        return f"{offer.usd(wanted_of(request))[1]}"
    model = server.deployment or request.model
    if model is None:
        return f"{server.label} chooses the model"
    return f"no price of {model} at {request.size} is known"
