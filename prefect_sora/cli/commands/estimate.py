"""`prefect-sora estimate`: what requests will cost; nothing is rendered or paid."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePath

from rich.table import Table

from prefect_sora.cli import exits
from prefect_sora.cli.commands import pricing
from prefect_sora.cli.options import SHOWN, Count, Flag, Profile, Provider, Shown
from prefect_sora.cli.run import chosen, run_command
from prefect_sora.cli.screen import Screen, usd
from prefect_sora.errors import InvalidRequestError
from prefect_sora.limits import limits
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers import estimates, video_models
from prefect_sora.servers.costs import catalogue
from prefect_sora.servers.request_checks import check_offered
from prefect_sora.servers.server import Server
from prefect_sora.servers.video_prices import ANY


@dataclass(frozen=True)
class Offer:
    """What a model would cost for the same request.

    Attributes:
        model: Its name.
        usd: In USD; None where the price is not known.
        why: Why it is not known.
    """

    model: str
    usd: float | None
    why: str | None = None


def estimate(
    file: str | None = None,
    *,
    provider: Provider = None,
    profile: Profile = None,
    model: str | None = None,
    size: str | None = None,
    aspect_ratio: str | None = None,
    seconds: Count | None = None,
    skip_bad_rows: Flag = False,
    shown: Shown = SHOWN,
) -> int:
    """Compare what models cost for one clip, or total a batch or a storyboard; nothing is sent.

    Prices are the published ones, those in PREFECT_SORA_PRICES, or the provider's own. What is not
    known is shown so.

    Args:
        file: A batch, as `prefect-sora batch` takes it, or a storyboard, as `prefect-sora
            storyboard` does; without one, models are compared.
        provider: By whose prices.
        profile: See above.
        model: Look at this model besides; of a batch's rows that name none.
        size: Pixels as WIDTHxHEIGHT, or 720p, 1024p or 1080p; of a batch's rows that have none.
        aspect_ratio: 16:9, 9:16, 1:1, 16:10 or 10:16, in place of a size; 16:9 without either.
        seconds: Length of the clip, 8 where nothing is said; of a batch's rows that have none.
        skip_bad_rows: Total a batch without its rows that cannot be sent.
        shown: See above.
    """

    def body(screen: Screen) -> int:
        server = pricing.server_of(chosen(provider, profile=profile) if provider else None)
        if file is not None:
            from prefect_sora.renders.batches.plan import plan
            from prefect_sora.requests.documents import named
            from prefect_sora.requests.table import read_table

            defaults = pricing.row_defaults(model, size, seconds)
            if asyncio.run(_is_storyboard(file)):
                if defaults or aspect_ratio or skip_bad_rows:
                    raise InvalidRequestError(
                        f"{named(file, 'storyboard')} says itself what its shots are.",
                        next_step="Leave out --model, --size, --aspect-ratio, --seconds and "
                        "--skip-bad-rows, or change the file.",
                    )
                asyncio.run(_tell_storyboard(screen, file, server))
                return exits.OK
            rows = asyncio.run(read_table(file, defaults=defaults))
            planned = plan(rows, server, service=server.ends_models, skip_bad_rows=skip_bad_rows)
            pricing.tell(screen, planned)
            return exits.OK
        asked = VideoRequest.of(
            prompt="what it costs",
            model=None,
            size=size,
            aspect_ratio=aspect_ratio,
            seconds=seconds or 8,
        )
        offers, refused = compared(asked, server, [model] if model else [])
        if not offers:
            raise InvalidRequestError(
                f"No known model renders this: {' '.join(refused)}",
                next_step="Change size or seconds, or name another with --model.",
            )
        screen.document([{**asdict(offer), **_asked(asked)} for offer in offers])
        if not screen.shown.json:
            screen.out.print(_table(offers, asked))
        for why in refused:
            screen.note(why)
        return exits.OK

    return run_command(shown, body, provider=provider)


def compared(
    asked: VideoRequest, server: Server, further: Iterable[str]
) -> tuple[list[Offer], list[str]]:
    """Price a request on all models that can render it: the cheapest first, the unknown last.

    Args:
        asked: The request, without its model.
        server: By whose prices.
        further: Models besides those of the catalogue, the server's own where it has one, and of
            its own prices.

    Returns:
        The offers, and why other models make none.
    """
    priced = (model for model, _, _ in server.prices if model != ANY)
    offers, refused = [], []
    live = catalogue.known(server.base_url) if server.profile.catalog_path else None
    listed = live.offers if live else video_models.MODELS
    for name in dict.fromkeys([*listed, *priced, *further]):
        request = asked.model_copy(update={"model": name})
        try:
            video_models.check(request, profile=server.profile if server.local else None)
            check_offered(request, server)
        except InvalidRequestError as error:
            refused.append(error.message)
            continue
        price = estimates.price(request, server)
        offers.append(Offer(name, price.usd, price.why))
    return sorted(offers, key=lambda offer: (offer.usd is None, offer.usd or 0.0)), refused


async def _is_storyboard(file: str) -> bool:
    """Whether a file holds shots: a batch is no YAML, and as JSON a list, not a mapping."""
    suffix = PurePath(file.partition("?")[0]).suffix.lower()
    if suffix != ".json":
        return suffix in (".yaml", ".yml")
    from prefect_sora.requests import files  # what --help needs not wait for

    try:
        value = json.loads(await files.load(file, max_bytes=limits().document_max_bytes))
    except (files.UnreadableError, ValueError, RecursionError):
        return False  # to be refused as the batch that it may be
    return isinstance(value, dict) and "shots" in value


async def _tell_storyboard(screen: Screen, file: str, server: Server) -> None:
    from prefect_sora.requests import storyboard as storyboards

    board = await storyboards.read(file)
    requests = await board.requests()
    for number, request in enumerate(requests, start=1):
        with storyboards.naming(number):
            warnings = video_models.check(request, server.ends_models, profile=server.profile)
            check_offered(request, server)
            for warning in warnings:
                screen.warn(f"Shot {number}: {warning}")
    renders = board.renders(requests)
    total = estimates.estimate(renders, server)
    pricing.tell_total(screen, renders, total, {"shots": len(requests), "renders": len(renders)})


def _asked(request: VideoRequest) -> dict[str, object]:
    return {"size": request.size, "seconds": request.seconds}


def _table(offers: Sequence[Offer], asked: VideoRequest) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("model", "size", "seconds", "cost", ""):
        table.add_column(column, no_wrap=True)
    for offer in offers:
        table.add_row(offer.model, asked.size, f"{asked.seconds}", usd(offer.usd), offer.why or "")
    return table
