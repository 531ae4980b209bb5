"""What each known image model takes, and what its pictures cost, as dated data.

Sources: OpenAI's openapi.yaml (2026-08-21) and its SDK's list of image models (3.52.0);
OpenAI's guide "Image generation" and its model pages, read by third parties (2026-01 to
2026-05); OpenAI's "Deprecations" (read 2026-11); Microsoft's model retirement schedule for
Foundry (2026-07). A model that is not here passes through, with the fields that are set.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from prefect_sora.requests.image import ImageRequest
from prefect_sora.servers.profiles import Service
from prefect_sora.servers.server import Server

OPTIONS: Final = (
    *("size", "quality", "style", "background", "output_format", "output_compression"),
    *("moderation", "input_fidelity"),
)
"""The fields that only some models take; their names are the same here and on the wire."""

_GPT: Final = frozenset(
    {"size", "quality", "background", "output_format", "output_compression", "moderation"}
)
_LEVELS: Final = ("low", "medium", "high", "auto")
_GROUNDS: Final = ("transparent", "opaque", "auto")
_THREE: Final = ("1024x1024", "1536x1024", "1024x1536", "auto")


def is_free(size: str) -> bool:
    """The sizes of gpt-image-2 and its successors (guide; pixels: a third party's digest)."""
    if size == "auto":
        return True
    width, height = (int(edge) for edge in size.split("x"))
    whole = width % 16 == 0 and height % 16 == 0
    fits = max(width, height) <= 3840 and max(width, height) <= 3 * min(width, height)
    return whole and fits and 655_360 <= width * height <= 8_294_400


FREE_IN_WORDS: Final = (
    "any WIDTHxHEIGHT of multiples of 16 with a ratio up to 3:1, edges up to 3840 and "
    "655,360 to 8,294,400 pixels, or auto"
)


@dataclass(frozen=True)
class ImageModel:
    """One model of the catalogue.

    Attributes:
        name: Its name on the wire; a dated name means the same model.
        takes: The optional fields that it takes; any other is refused.
        sizes: The sizes that it draws; None: any that `is_free` allows.
        max_count: Pictures of one request.
        max_inputs: Pictures of one edit; 0: it edits nothing.
        qualities: None where they are not known, so that any is sent.
        styles: Of dall-e-3.
        backgrounds: None where they are not known.
        max_prompt: Longest prompt, characters.
        response_format: It takes that field; without it, it answers with a URL.
        ended: The day that each service ends it.
        good_for: What one takes it for, in a few words. Ours.
        usd: Price of one picture by quality and size; input pictures and words are charged on
            top. A price that is missing is not known.
    """

    name: str
    takes: frozenset[str] = _GPT
    sizes: tuple[str, ...] | None = _THREE
    max_count: int = 10
    max_inputs: int = 16
    qualities: tuple[str, ...] | None = _LEVELS
    styles: tuple[str, ...] = ()
    backgrounds: tuple[str, ...] | None = _GROUNDS
    max_prompt: int = 32_000
    response_format: bool = False
    ended: Mapping[Service, date] = field(default_factory=dict)
    good_for: str = ""
    usd: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def _usd(
    square: tuple[float, float, float], long: tuple[float, float, float]
) -> dict[str, dict[str, float]]:
    return {
        level: {"1024x1024": one, "1536x1024": other, "1024x1536": other}
        for level, one, other in zip(_LEVELS, square, long, strict=False)
    }


_MORE_LEVELS: Final = ("low", "medium", "high", "xhigh", "max", "auto")
_FIDELITY: Final = _GPT | {"input_fidelity"}

_LISTED: Final = (
    # Which qualities 2.6 has stands nowhere that we could read: what is set is sent. Grounds: as
    # a relay measured them on 2026-11-12.
    ImageModel("gpt-image-2.6-sunburst", qualities=None, sizes=None),
    ImageModel("gpt-image-2.6-flare", qualities=None, sizes=None),
    ImageModel(
        "gpt-image-2.5-sunburst",
        qualities=_MORE_LEVELS,
        sizes=None,
        good_for="careful work and transparent pictures",
    ),
    ImageModel(
        "gpt-image-2.5-flare",
        qualities=_MORE_LEVELS,
        sizes=None,
        good_for="quick variants, transparent ones too",
    ),
    ImageModel(
        "gpt-image-2",
        # Transparent grounds were a preview, from 2026-08-21 to 2026-09-30 by a third party's
        # notice (2026-10-15); OpenAI's API reference (read 2026-11) says that it refuses them.
        backgrounds=("opaque", "auto"),
        good_for="first frames of any size, and pictures without transparency",
        ended={"azure": date(2027, 4, 21)},
        sizes=None,
    ),
    ImageModel(
        "gpt-image-1.5",
        takes=_FIDELITY,
        ended={"openai": date(2026, 12, 1), "azure": date(2026, 12, 16)},
        good_for="edits that keep close to their pictures",
        # OpenAI's model page, as told on 2026-03-23 and 2026-05-10.
        usd=_usd((0.009, 0.034, 0.133), (0.013, 0.05, 0.2)),
    ),
    ImageModel(
        "chatgpt-image-latest",
        takes=_FIDELITY,
        ended={"openai": date(2026, 12, 1)},
        usd=_usd((0.009, 0.034, 0.133), (0.013, 0.05, 0.2)),  # the same source
    ),
    ImageModel(
        "gpt-image-1-mini",
        takes=_FIDELITY,
        ended={"openai": date(2026, 12, 1), "azure": date(2027, 4, 7)},
        good_for="many cheap pictures",
        # The same source, of 2026-03-23; on the longer sizes no two sources agree.
        usd={
            "low": {"1024x1024": 0.005},
            "medium": {"1024x1024": 0.011},
            "high": {"1024x1024": 0.036},
        },
    ),
    ImageModel(
        "gpt-image-1",
        takes=_FIDELITY,
        ended={"openai": date(2026, 10, 23)},
        usd=_usd((0.011, 0.042, 0.167), (0.016, 0.063, 0.25)),  # its model page, 2026-01-04
    ),
    ImageModel(
        "dall-e-3",
        takes=frozenset({"size", "quality", "style"}),
        sizes=("1024x1024", "1792x1024", "1024x1792"),
        max_count=1,
        max_inputs=0,
        qualities=("standard", "hd"),
        styles=("vivid", "natural"),
        max_prompt=4000,
        response_format=True,
        ended={"openai": date(2026, 5, 12)},
        # OpenAI's pricing page, 2023-11 until it was retired.
        usd={
            "standard": {"1024x1024": 0.04, "1792x1024": 0.08, "1024x1792": 0.08},
            "hd": {"1024x1024": 0.08, "1792x1024": 0.12, "1024x1792": 0.12},
        },
    ),
    ImageModel(
        "dall-e-2",
        takes=frozenset({"size"}),
        sizes=("256x256", "512x512", "1024x1024"),
        max_inputs=1,
        max_prompt=1000,
        response_format=True,
        ended={"openai": date(2026, 5, 12)},
        usd={"standard": {"256x256": 0.016, "512x512": 0.018, "1024x1024": 0.02}},
    ),
)

IMAGE_MODELS: Final = {model.name: model for model in _LISTED}


def find(name: str | None) -> ImageModel | None:
    """Look a model up by its name or by a dated one, its vendor's name before it or not."""
    return IMAGE_MODELS.get(re.sub(r"^.*/|-\d{4}-\d{2}-\d{2}$", "", name)) if name else None


def usd_each(request: ImageRequest, server: Server) -> float | None:
    """Price one picture in USD, without its input; None where the price is not known.

    A server's own prices come first: they are per second for a video model, and per picture
    for an image model.
    """
    own = server.for_pictures.cost_usd(request.model, request.size, 1)
    model = find(request.model)
    if own is not None or model is None:
        return own
    quality = request.quality or ("standard" if "standard" in model.usd else "auto")
    return model.usd.get(quality, {}).get(request.size or "auto")


def nearest_size(name: str | None, pixels: tuple[int, int] | None) -> str | None:
    """Choose the size to ask a model for, given a picture's pixels; None: the model's default.

    It is the picture's own size where the model offers that, else the size of the nearest
    ratio. An unknown model is asked for the picture's own size.
    """
    if pixels is None:
        return None
    own, model = "{}x{}".format(*pixels), find(name)
    if model is None or (model.sizes is None and is_free(own)):
        return own
    listed = [size for size in model.sizes or _THREE if size != "auto"]
    if own in listed:
        return own
    wanted = pixels[0] / pixels[1]

    def off(size: str) -> float:
        width, height = (int(edge) for edge in size.split("x"))
        return abs(math.log(width / height / wanted))

    return min(listed, key=off)
