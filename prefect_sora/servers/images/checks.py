"""Image checks: what a model does not take is refused before it is sent, with what it takes."""

from datetime import UTC, date, datetime
from typing import Final

from prefect_sora.errors import InvalidRequestError, RetiredModelError
from prefect_sora.requests.image import ImageRequest
from prefect_sora.servers.images.models import (
    FREE_IN_WORDS,
    IMAGE_MODELS,
    OPTIONS,
    ImageModel,
    find,
    is_free,
)
from prefect_sora.servers.profiles import Profile, Service

_NAMES: Final = {"openai": "OpenAI", "azure": "Azure OpenAI"}


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
                next_step=f"Name a model that it still has, such as "
                f"{', '.join(_going(service))}; or set allow_unlisted to send it all the same.",
            )
        return [problem, *_problems(request, model)]
    problems = _problems(request, model)
    if problems and not request.allow_unlisted:
        raise InvalidRequestError(
            " ".join(problems),
            next_step="Choose one of these, or set allow_unlisted to send it all the same.",
        )
    return problems


def _going(service: Service) -> list[str]:
    today = datetime.now(UTC).date()
    return [
        model.name
        for model in IMAGE_MODELS.values()
        if not (ends := model.ended.get(service)) or ends > today
    ][:4]


def _problems(request: ImageRequest, model: ImageModel) -> list[str]:
    """Say of each field that the model does not take what it takes instead."""
    name, problems = model.name, []
    if request.images and not model.max_inputs:
        problems.append(f"{name} edits no pictures; {', '.join(_editors())} do.")
    elif len(request.images) > model.max_inputs > 0:
        problems.append(
            f"{name} edits {_pictures(model.max_inputs)} at once, not {len(request.images)}."
        )
    if request.n > model.max_count:
        problems.append(f"{name} draws {_pictures(model.max_count)} at once, not {request.n}.")
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
            if not is_free(value):
                problems.append(f"{name} takes size {FREE_IN_WORDS}, not {value}.")
        elif allowed is not None and value not in allowed:
            instead = f" {_other_ground(value)}" if option == "background" else ""
            problems.append(f"{name} takes {option} {_listed(allowed)}, not {value}.{instead}")
    return problems


def _other_ground(background: str) -> str:
    if background != "transparent":
        return f"For a {background} ground, ask for it in the prompt."
    clear = [m.name for m in IMAGE_MODELS.values() if "background" in m.takes and _is_clear(m)]
    return f"{', '.join(clear[:4])} draw transparent ones."


def _is_clear(model: ImageModel) -> bool:
    return model.backgrounds is not None and "transparent" in model.backgrounds


def _pictures(count: int) -> str:
    return f"{count} picture{'s' * (count > 1)}"


def _editors() -> list[str]:
    return [model.name for model in IMAGE_MODELS.values() if model.max_inputs > 1][:4]


def _listed(values: tuple[str, ...] | list[str]) -> str:
    *most, last = values
    return f"{', '.join(most)} or {last}" if most else last
