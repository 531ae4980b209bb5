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
from datetime import UTC, date, datetime
from typing import Final

from prefect_sora.errors import InvalidRequestError, RetiredModelError
from prefect_sora.requests.image import ImageRequest
from prefect_sora.servers.profiles import Profile, Service
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


def _free(size: str) -> bool:
    """The sizes of gpt-image-2 and its successors (guide; pixels: a third party's digest)."""
    if size == "auto":
        return True
    width, height = (int(edge) for edge in size.split("x"))
    whole = width % 16 == 0 and height % 16 == 0
    fits = max(width, height) <= 3840 and max(width, height) <= 3 * min(width, height)
    return whole and fits and 655_360 <= width * height <= 8_294_400


_FREE_IN_WORDS: Final = (
    "any WIDTHxHEIGHT of multiples of 16 with a ratio up to 3:1, edges up to 3840 and "
    "655,360 to 8,294,400 pixels, or auto"
)


@dataclass(frozen=True)
class ImageModel:
    """One model of the catalogue.

    Attributes:
        name: Its name on the wire; a dated name means the same model.
        takes: The optional fields that it takes; any other is refused.
        sizes: The sizes that it draws; None: any that `_free` allows.
        max_count: Pictures of one request.
        max_inputs: Pictures of one edit; 0: it edits nothing.
        qualities: None where they are not known, so that any is sent.
        styles: Of dall-e-3.
        backgrounds: None where they are not known.
        preview_backgrounds: Backgrounds that it offers as a preview.
        max_prompt: Longest prompt, characters.
        response_format: It takes that field; without it, it answers with a URL.
        ended: The day that each service ends it.
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
    preview_backgrounds: tuple[str, ...] = ()
    max_prompt: int = 32_000
    response_format: bool = False
    ended: Mapping[Service, date] = field(default_factory=dict)
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
    # We could read nowhere what 2.6 offers: what is set is sent.
    ImageModel("gpt-image-2.6-sunburst", qualities=None, backgrounds=None, sizes=None),
    ImageModel("gpt-image-2.6-flare", qualities=None, backgrounds=None, sizes=None),
    ImageModel("gpt-image-2.5-sunburst", qualities=_MORE_LEVELS, sizes=None),
    ImageModel("gpt-image-2.5-flare", qualities=_MORE_LEVELS, sizes=None),
    ImageModel(
        "gpt-image-2",
        preview_backgrounds=("transparent",),
        ended={"azure": date(2027, 4, 21)},
        sizes=None,
    ),
    ImageModel(
        "gpt-image-1.5",
        takes=_FIDELITY,
        ended={"openai": date(2026, 12, 1), "azure": date(2026, 12, 16)},
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

_NAMES: Final = {"openai": "OpenAI", "azure": "Azure OpenAI"}


def find(name: str | None) -> ImageModel | None:
    """Look a model up by its name or by a dated one."""
    return IMAGE_MODELS.get(re.sub(r"-\d{4}-\d{2}-\d{2}$", "", name)) if name else None


def check(
    request: ImageRequest,
    service: Service | None = None,
    today: date | None = None,
    *,
    profile: Profile | None = None,
) -> list[str]:
    """Refuse what the model does not take; return warnings about what is doubtful.

    Args:
        request: What is to be drawn.
        service: `openai` or `azure` where the server is that service; None otherwise.
        today: For tests; the current day otherwise.
        profile: The server's; one that draws whatever is named is held to nothing here.

    Raises:
        RetiredModelError: Its own service has ended the model.
        InvalidRequestError: A field or a value that the model does not take; the message
            lists what it does. `allow_unlisted=True` sends it all the same.
    """
    model = find(request.model)
    if model is None or (profile and (profile.own_model or not profile.keeps_catalogue)):
        return []
    ended = model.ended.get(service) if service else None
    if service and ended and (today or datetime.now(UTC).date()) >= ended:
        problem = f"{_NAMES[service]} ended {request.model} on {ended:%Y-%m-%d}."
        if not request.allow_unlisted:
            raise RetiredModelError(
                problem,
                next_step=f"Nothing was sent. Name a model that it still has, such as "
                f"{', '.join(_going(service))}; allow_unlisted sends it all the same.",
            )
        return [problem, *_problems(request, model)]
    problems = _problems(request, model)
    if problems and not request.allow_unlisted:
        raise InvalidRequestError(
            " ".join(problems),
            next_step="Nothing was sent. Choose one of these, or set allow_unlisted to send it "
            "all the same.",
        )
    if request.background in model.preview_backgrounds:
        problems.append(f"{model.name} offers background {request.background} as a preview.")
    return problems


def usd_each(request: ImageRequest, server: Server) -> float | None:
    """Price one picture in USD, without its input; None where the price is not known.

    A server's own prices come first: they are per second for a video model, and per picture
    for an image model.
    """
    own = server.cost_usd(request.model, request.size, 1)
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
    if model is None or (model.sizes is None and _free(own)):
        return own
    listed = [size for size in model.sizes or _THREE if size != "auto"]
    if own in listed:
        return own
    wanted = pixels[0] / pixels[1]

    def off(size: str) -> float:
        width, height = (int(edge) for edge in size.split("x"))
        return abs(math.log(width / height / wanted))

    return min(listed, key=off)


def _going(service: Service) -> list[str]:
    today = datetime.now(UTC).date()
    return [
        model.name for model in _LISTED if not (ends := model.ended.get(service)) or ends > today
    ][:4]


def _problems(request: ImageRequest, model: ImageModel) -> list[str]:
    """Say of each field that the model does not take what it takes instead."""
    name, problems = model.name, []
    if request.images and not model.max_inputs:
        problems.append(f"{name} edits no pictures; {', '.join(_editors())} do.")
    elif len(request.images) > model.max_inputs > 0:
        problems.append(
            f"{name} edits up to {model.max_inputs} pictures, not {len(request.images)}."
        )
    if request.n > model.max_count:
        problems.append(f"{name} draws up to {model.max_count} pictures at once, not {request.n}.")
    if len(request.prompt) > model.max_prompt:
        problems.append(
            f"{name} reads {model.max_prompt} characters of a prompt, not {len(request.prompt)}."
        )
    offered: dict[str, tuple[str, ...] | None] = {
        "size": model.sizes,
        "quality": model.qualities,
        "style": model.styles,
        "background": model.backgrounds,
    }
    for option in OPTIONS:
        value, allowed = getattr(request, option), offered.get(option)
        if value is None:
            continue
        if option not in model.takes:
            problems.append(f"{name} takes no {option}, but {_listed(sorted(model.takes))}.")
        elif option == "size" and allowed is None:
            if not _free(value):
                problems.append(f"{name} takes size {_FREE_IN_WORDS}, not {value}.")
        elif allowed is not None and value not in allowed:
            problems.append(f"{name} takes {option} {_listed(allowed)}, not {value}.")
    return problems


def _editors() -> list[str]:
    return [model.name for model in _LISTED if model.max_inputs > 1][:4]


def _listed(values: tuple[str, ...] | list[str]) -> str:
    *most, last = values
    return f"{', '.join(most)} or {last}" if most else last
