"""`prefect-sora models`: what the catalogue knows, and what a server itself names."""

import asyncio
from dataclasses import asdict
from difflib import get_close_matches
from typing import Any, Final

from rich.table import Table

from prefect_sora.cli import exits, signals
from prefect_sora.cli.commands import pricing
from prefect_sora.cli.options import SHOWN, STORE, Flag, Profile, Provider, Shown
from prefect_sora.cli.run import chosen, run_command
from prefect_sora.cli.saved import store_named
from prefect_sora.cli.screen import Screen, usd
from prefect_sora.errors import SoraError
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.renders.environment import NamedProvider
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers import video_models, video_prices
from prefect_sora.servers.costs import catalogue
from prefect_sora.servers.images import models as image_models
from prefect_sora.servers.protocol.video_object import ServedModel


def models(
    name: str | None = None,
    *,
    images: Flag = False,
    provider: Provider = None,
    profile: Profile = None,
    store: str = STORE,
    shown: Shown = SHOWN,
) -> int:
    """List the known models, with lengths, sizes and prices; or tell all that is known of one.

    Of one model it tells what it is good for, what a clip of each length costs, and how long its
    renders have taken in the store.

    Models that are not listed are sent as they are; their cost is unknown, unless the
    provider block has its price. With --provider the server is asked for its own list.

    Args:
        name: The model to tell all of, videos' or pictures'.
        images: Those that draw pictures, in place of those that render videos.
        provider: See above.
        profile: See above.
        store: Where to measure how long renders of the model took.
        shown: See above.
    """

    def body(screen: Screen) -> int:
        if name is not None:
            return _tell_one(screen, name, provider, profile, store)
        if images:
            return _tell_images(screen)
        renderer = chosen(provider, profile=profile) if provider is not None else None
        known = [_as_json(model) for model in video_models.MODELS.values()]
        if not screen.shown.json:
            screen.out.print(_table())
            screen.note(
                "In brackets: listed by one provider, and reported to be refused by OpenAI."
            )
            for tariff in _sources():
                screen.note(tariff)
        if renderer is None:
            screen.document(known)
            return exits.OK
        named = _served(renderer)
        screen.document({"known": known, "server": [one.model_dump() for one in named]})
        if not screen.shown.json:
            screen.out.print(_served_table(renderer, named))
        return exits.OK

    return run_command(shown, body, provider=provider)


_YES_OR_NO: Final[dict[bool | None, str]] = {True: "yes", False: "no", None: ""}


def _tell_one(
    screen: Screen, name: str, provider: str | None, profile: str | None, store: str
) -> int:
    from prefect_sora.renders.inventory.model_information import model_information

    server = pricing.server_of(chosen(provider, profile=profile) if provider else None)
    named, own = store_named(store), video_prices.by_model(server.prices)
    live = catalogue.known(server.base_url)
    offer = live.offers.get(name) if live else None
    if live and offer is None:  # it says what is meant, perhaps
        catalogue.check(VideoRequest(prompt=name, model=name), server.label, server.base_url)
    known = asyncio.run(model_information(name, store=named.folder, prices=own, offer=offer))
    screen.document(known.model_dump(mode="json"))
    if screen.shown.json:
        return exits.OK
    if not known.listed:
        near = get_close_matches(name, [*video_models.MODELS, *image_models.IMAGE_MODELS], n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        screen.note(
            f"The catalogue does not know {name}: it is sent as it is, and the server judges."
            + meant
        )
    pictures = [
        f"{size} {level} {usd(p)}"
        for level, by in known.usd_per_picture.items()
        for size, p in by.items()
    ]
    measured = known.measured
    took = measured and (
        f"{measured.median_seconds:.0f} s as a rule, {measured.longest_seconds:.0f} s at most "
        f"({measured.renders} in {named.name})"
    )
    lines = {
        "good for": known.good_for,
        "does": ", ".join(known.verbs),
        "seconds": _seconds(known.seconds, known.disputed_seconds),
        "ratios": ", ".join(f"{ratio} ({size})" for ratio, size in known.ratios.items())
        or ", ".join(known.aspect_ratios),
        "sizes": ", ".join((*known.sizes, *known.resolutions)),
        "picture": known.picture_input,
        "sound": _YES_OR_NO[known.sound],
        "seed": _YES_OR_NO[known.seed],
        "pricing": ", ".join(f"{key} {usd_}" for key, usd_ in known.pricing.items()),
        "a picture": ", ".join(pictures),
        "rendering": f"takes {took or f'a time not measured yet: none is in {named.name}'}",
        "waiting": known.waits_seconds and f"up to {known.waits_seconds:.0f} s, for 8 s of 720p",
        "limits": known.account_limits,
        "ended": ", ".join(f"{service} {day}" for service, day in known.ended.items()),
        "also": ", ".join(known.snapshots),
    }
    screen.result(name, style="bold")
    for word, said in lines.items():
        if said:
            screen.result(f"  {word:<9} {said}")
    if known.prices:
        lengths = list(known.prices[0].usd_per_clip)
        table = _columns("size", "USD/s", *(f"{each} s" for each in lengths), "source")
        for price in known.prices:
            clips = [usd(price.usd_per_clip.get(each)) for each in lengths]
            table.add_row(price.size, usd(price.usd_per_second), *clips, price.source)
        screen.out.print(table)
    if "1920x1080" in known.sizes and "1792x1024" in known.sizes:
        screen.note("1080p is 1920x1080. Some price tables call 1792x1024 so; here it is 1024p.")
    return exits.OK


def _seconds(sure: tuple[int, ...], disputed: tuple[int, ...]) -> str:
    told = " ".join(map(str, sure))
    return f"{told} ({' '.join(map(str, disputed))})" if disputed else told


def _served(provider: NamedProvider) -> list[ServedModel]:
    from prefect_sora.servers.protocol.connections import connect

    server = pricing.server_of(provider)
    if live := catalogue.known(server.base_url):
        return [ServedModel(id=name) for name in live.offers]

    async def asked() -> list[ServedModel]:
        return await connect(server).models()

    try:
        return signals.run(asked)
    except SoraError as error:
        error.steps = error.steps or (NextStep("doctor"),)
        raise


def _tell_images(screen: Screen) -> int:
    known = image_models.IMAGE_MODELS.values()
    screen.document(
        [
            {
                **asdict(model),
                "takes": sorted(model.takes),
                "ended": {service: day.isoformat() for service, day in model.ended.items()},
            }
            for model in known
        ]
    )
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("model", "size", "quality", "USD each", "ends at"):
        table.add_column(column, no_wrap=True)
    for model in known:
        priced = [
            (size, level, usd(p)) for level, by in model.usd.items() for size, p in by.items()
        ]
        if not priced:
            levels = " ".join(model.qualities or ("not known",))
            priced = [(size, levels, usd(None)) for size in (model.sizes or ("free",))]
        ends = [f"{service} {day:%Y-%m-%d}" for service, day in model.ended.items()]
        for row, (size, level, price) in enumerate(priced):
            end = ends[row] if row < len(ends) else ""
            table.add_row(model.name if row == 0 else "", size, level, price, end)
    if not screen.shown.json:
        screen.out.print(table)
        screen.note("Of one picture; what it is made from is charged besides.")
    return exits.OK


def _table() -> Table:
    table = _columns("model", "seconds", "size", "USD/s", "as of", "ended at")
    for model in video_models.MODELS.values():
        ended = [f"{service} {day:%Y-%m-%d}" for service, day in model.ended.items()]
        seconds = _seconds(model.seconds, model.disputed_seconds)
        for row, size in enumerate(model.sizes):
            tariff = video_prices.tariff(model.name, size)
            table.add_row(
                model.name if row == 0 else "",
                seconds if row == 0 else "",
                size,
                usd(tariff.usd_per_second if tariff else None),
                f"{tariff.read_on:%Y-%m-%d}" if tariff else "",
                ended[row] if row < len(ended) else "",
            )
    return table


def _served_table(provider: NamedProvider, named: list[ServedModel]) -> Table:
    server = pricing.server_of(provider)
    table = _columns("at the server", "USD/s", "ends")
    for one in named:
        known = video_models.find(one.id)
        offer = server.offer(one.id)
        sizes = known.sizes if known else offer.shapes if offer else (None,)
        told = sorted({usd(server.cost_usd(one.id, size, 1)) for size in sizes})
        table.add_row(one.id, " to ".join(dict.fromkeys((told[0], told[-1]))), one.shutdown_date)
    if not named:
        table.add_row("it names none", "", "")
    return table


def _columns(*names: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in names:
        table.add_column(name, no_wrap=True)
    return table


def _sources() -> list[str]:
    """Say where the prices stand, each source once."""
    by_source: dict[str, list[str]] = {}
    for tariff in video_prices.PUBLISHED:
        by_source.setdefault(tariff.source, []).append(f"{tariff.model} {tariff.sizes[0]}")
    return [f"Prices of {', '.join(of)}: {source}." for source, of in by_source.items()]


def _as_json(model: video_models.VideoModel) -> dict[str, Any]:
    found = {size: video_prices.tariff(model.name, size) for size in model.sizes}
    return {
        **asdict(model),
        "ended": {s: day.isoformat() for s, day in model.ended.items()},
        "usd_per_second": {size: t.usd_per_second for size, t in found.items() if t},
        "prices_as_of": {size: t.read_on.isoformat() for size, t in found.items() if t},
        "price_sources": {size: t.source for size, t in found.items() if t},
    }
