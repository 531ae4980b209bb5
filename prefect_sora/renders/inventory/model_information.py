"""Model information: what is known of a model, and how long its renders took in one's own store."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from statistics import median
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from prefect_sora.handles import Kind
from prefect_sora.renders.finish.options import deadline_seconds
from prefect_sora.renders.inventory.inventory import HasFolder, iterate_store
from prefect_sora.requests.video import SIZES_BY_RATIO
from prefect_sora.servers import video_models
from prefect_sora.servers.costs.catalogue import Offer
from prefect_sora.servers.costs.pricing_keys import Wanted
from prefect_sora.servers.images import models as image_models
from prefect_sora.servers.video_prices import ANY, read_prices, tariff, usd_per_second
from prefect_sora.store.backends import VideoFolder

_VERBS: Final[tuple[Kind, ...]] = ("create", "remix", "edit", "extend")
_LENGTHS: Final = (4, 8, 12)


class SizePrice(BaseModel):
    """What a model costs at one size, of videos in USD per second."""

    model_config = ConfigDict(frozen=True)

    size: str
    usd_per_second: float | None = Field(description="None where the price is not known.")
    usd_per_clip: dict[int, float] = Field(description="By the clip's seconds.")
    as_of: date | None = Field(default=None, description="When a published price was read.")
    source: str = ""


class Measured(BaseModel):
    """How long renders took in a store, from their beginning to the kept clip, in seconds."""

    model_config = ConfigDict(frozen=True)

    renders: int
    median_seconds: float
    longest_seconds: float


class ModelInformation(BaseModel):
    """What is known of a model; what nobody knows is empty or None."""

    model_config = ConfigDict(frozen=True)

    name: str
    kind: Literal["video", "image"] = "video"
    listed: bool = Field(description="Whether a catalogue knows it: the server's own, or ours.")
    snapshots: tuple[str, ...] = Field(default=(), description="Dated names of the same model.")
    good_for: str = ""
    ratios: dict[str, str] = Field(default={}, description="The size of each ratio it offers.")
    sizes: tuple[str, ...] = ()
    seconds: tuple[int, ...] = ()
    disputed_seconds: tuple[int, ...] = Field(
        default=(), description="Listed by some, and reported to be refused."
    )
    resolutions: tuple[str, ...] = Field(
        default=(), description="Those that a server's own catalogue names, with `aspect_ratios`."
    )
    aspect_ratios: tuple[str, ...] = ()
    sound: bool | None = Field(default=None, description="Whether it makes sound.")
    seed: bool | None = Field(default=None, description="Whether it takes a seed.")
    pricing: dict[str, JsonValue] = Field(
        default={}, description="Prices as a server's own catalogue writes them, cents and dollars."
    )
    verbs: tuple[str, ...] = ()
    picture_input: str = ""
    prices: tuple[SizePrice, ...] = ()
    usd_per_picture: dict[str, dict[str, float]] = Field(
        default={}, description="Of an image model, by quality and size."
    )
    waits_seconds: float | None = Field(
        default=None, description="How long a render of 8 s of 720p is waited for at most."
    )
    measured: Measured | None = None
    account_limits: str = ""
    ended: dict[str, date] = Field(default={}, description="When each service ends or ended it.")


async def model_information(
    name: str,
    *,
    store: HasFolder | VideoFolder | str | Path | None = None,
    prices: Mapping[str, float | Mapping[str, float]] | None = None,
    offer: Offer | None = None,
) -> ModelInformation:
    """Tell all that is known of a model; no server is asked.

    Args:
        name: Its name, or a dated one.
        store: Measure how long its renders took here: a `VideoStore`, a folder or a URL.
        prices: A server's own prices, as its block holds them.
        offer: What a server's own catalogue says of it.

    Raises:
        InvalidRequestError: The prices are none.
        StorageError: The store cannot be listed.
    """
    measured = await _measured(name, store) if store is not None else None
    if offer is not None:
        return _offered(offer, measured)
    image = image_models.find(name)
    if image is not None:
        return ModelInformation(
            name=name,
            kind="image",
            listed=True,
            good_for=image.good_for,
            sizes=image.sizes or (image_models.FREE_IN_WORDS,),
            verbs=("generate", "edit") if image.max_inputs else ("generate",),
            picture_input=f"up to {image.max_inputs} pictures to change" * bool(image.max_inputs),
            usd_per_picture={level: dict(by_size) for level, by_size in image.usd.items()},
            measured=measured,
            ended={str(service): day for service, day in image.ended.items()},
        )
    model = video_models.find(name)
    own = read_prices(prices)
    priced = [size for of, size, _ in own if of in (name, ANY) and size != ANY]
    sizes = model.sizes if model else tuple(dict.fromkeys(priced)) or (ANY,)
    lengths = model.seconds if model else _LENGTHS
    told = tuple(_price(name, size, lengths, usd_per_second((name,), size, own)) for size in sizes)
    if model is None:
        known = tuple(price for price in told if price.usd_per_second is not None)
        return ModelInformation(name=name, listed=False, prices=known, measured=measured)
    return ModelInformation(
        name=name,
        listed=True,
        snapshots=model.snapshots,
        good_for=model.good_for,
        ratios={ratio: size for ratio, size in SIZES_BY_RATIO.items() if size in model.sizes},
        sizes=model.sizes,
        seconds=model.seconds,
        disputed_seconds=model.disputed_seconds,
        verbs=_VERBS,
        picture_input="one picture as the first frame, fitted to the video's exact size",
        prices=told,
        waits_seconds=deadline_seconds(name, None, None),
        measured=measured,
        account_limits=model.account_limits,
        ended={str(service): day for service, day in model.ended.items()},
    )


def _offered(offer: Offer, measured: Measured | None) -> ModelInformation:
    """Tell what a server's own catalogue says."""
    lengths = offer.seconds or _LENGTHS
    by_size = {
        size: {each: offer.usd(Wanted(size, each))[0] for each in (1, *lengths)}
        for size in offer.shapes
    }
    return ModelInformation(
        name=offer.name,
        listed=True,
        sizes=offer.sizes or (),
        resolutions=offer.resolutions or (),
        aspect_ratios=offer.aspect_ratios or (),
        seconds=offer.seconds or (),
        sound=offer.audio,
        seed=offer.seed,
        pricing=offer.pricing or {},
        picture_input="" if offer.frames is None else " and ".join(offer.frames) or "none",
        prices=tuple(
            SizePrice(
                size=size,
                usd_per_second=usd[1],
                usd_per_clip={n: one for n in lengths if (one := usd[n]) is not None},
                source="the server's own catalogue",
            )
            for size, usd in by_size.items()
        ),
        measured=measured,
    )


def _price(name: str, size: str, seconds: tuple[int, ...], usd: float | None) -> SizePrice:
    published = tariff(name, size)
    is_published = published is not None and published.usd_per_second == usd
    return SizePrice(
        size=size,
        usd_per_second=usd,
        usd_per_clip={} if usd is None else {each: round(usd * each, 6) for each in seconds},
        as_of=published.read_on if published and is_published else None,
        source=published.source if published and is_published else "the server's own",
    )


async def _measured(name: str, store: HasFolder | VideoFolder | str | Path) -> Measured | None:
    took: list[float] = []
    async for entry in iterate_store(store):
        kept = entry.video or entry.image
        begun = next((one.at for one in entry.attempts if one.state == "kept"), None)
        if kept and begun is not None and name in (entry.model, kept.model):
            took.append(max(0.0, kept.created_at - begun))
    if not took:
        return None
    return Measured(
        renders=len(took),
        median_seconds=round(median(took), 3),
        longest_seconds=round(max(took), 3),
    )


__all__ = ["Measured", "ModelInformation", "SizePrice", "model_information"]
