"""Prompts: a shot becomes the text that is sent, by this package's template or by your own.

A template of your own is a file that jinja2 renders in a sandbox. It may include and
extend others of its folder, and the package's. Its mistakes are found here, before a
render is paid for.
"""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, TemplateError, TemplateSyntaxError, meta, nodes
from pydantic import ValidationError

from prefect_sora.errors import InvalidRequestError, PromptTemplateError
from prefect_sora.limits import limits
from prefect_sora.limits.guarded import GuardedError, call
from prefect_sora.requests import documents, files
from prefect_sora.requests.problems import in_words
from prefect_sora.requests.shots import TEMPLATES, ShotPrompt, prose, sandbox
from prefect_sora.requests.video import MAX_PROMPT_CHARACTERS

_SUFFIX: Final = ".j2"

_CORRECT: Final = "Correct it; `prefect-sora templates NAME` shows one of the package's own."


async def written(prompt: str | ShotPrompt, template: str | Path | None = None) -> str:
    """Return the text of a prompt; text passes as it is.

    Args:
        prompt: Text, or a shot.
        template: Path, URL or shipped name of the template for a shot, in place of the shot's own.

    Raises:
        PromptTemplateError: The template is missing, has an error, or makes no prompt.
            Nothing was sent.
    """
    if isinstance(prompt, str):
        if template:
            raise PromptTemplateError(
                f"{_named(template)} is for a shot, and the prompt is text.",
                next_step="Give a shot, field by field (--shot FILE), or leave the template out.",
            )
        return prompt
    named = template or prompt.template
    if not named:
        return prompt.text()
    source = shipped(named) or named
    variables = prompt.variables()
    texts, main, called = await _loaded(source)
    # A template of this package is known to end.
    make = _made if shipped(named) else _made_in_bounds
    text = prose(await asyncio.to_thread(make, texts, main, variables, called))
    if not text:
        raise PromptTemplateError(
            f"{_named(source)} renders to nothing.", next_step="Let it write at least the subject."
        )
    if len(text) > MAX_PROMPT_CHARACTERS:
        raise _too_long(_named(source))
    return text


def shipped(name: str | Path) -> Path | None:
    """Find a template of this package by its name; None where it has none so called."""
    path = TEMPLATES / f"{name}{_SUFFIX}"
    return path if str(name).isidentifier() and path.is_file() else None


def shipped_names() -> list[str]:
    """Name the templates of this package; the first is used where none is named."""
    return sorted(path.stem for path in TEMPLATES.glob(f"*{_SUFFIX}"))


async def read_shot(source: str | Path) -> ShotPrompt:
    """Read a shot from a YAML or JSON file.

    Args:
        source: Path or URL.

    Raises:
        InvalidRequestError: There is no such file, or it is not a shot's; it says which
            line or field. Nothing was sent.
    """
    try:
        shot = ShotPrompt.model_validate(await documents.read(source, "shot"))
    except ValidationError as error:
        wrong = in_words(error, ShotPrompt.model_fields)
    else:
        if shot.template and not shipped(shot.template) and files.is_elsewhere(source):
            place = str(files.seen_from(source, shot.template))
            shot = shot.model_copy(update={"template": place})
        return shot
    raise InvalidRequestError(
        f"{documents.named(source, 'shot')} is no shot: {wrong}",
        next_step=f"A shot has the fields {', '.join(ShotPrompt.model_fields)}.",
    )


async def _loaded(source: str | Path) -> tuple[dict[str, str], str, dict[str, str]]:
    """Read a template and all that it refers to: their texts, its name, what errors call them."""
    main = Path(str(source).partition("?")[0].partition("::")[0]).name
    texts: dict[str, str] = {}
    sandboxed = sandbox(texts)
    wanted: list[tuple[str, str | Path]] = [(main, source)]
    called: dict[str, str] = {}
    while wanted:
        name, place = wanted.pop()
        if name in called:
            continue
        if len(called) >= limits().template_files:
            raise PromptTemplateError(
                f"{_named(source)} refers to more than {limits().template_files} others.",
                next_step=_CORRECT,
            )
        if place != source and (TEMPLATES / name).is_file():
            place = TEMPLATES / name
        called[name] = _named(place)
        texts[name] = data = await _read(place)
        try:
            tree = sandboxed.parse(data)
        except RecursionError:
            problem = "is nested too deeply"
            raise PromptTemplateError(f"{_named(place)} {problem}.", next_step=_CORRECT) from None
        except TemplateSyntaxError as error:
            problem = str(error.message).rstrip(".")
            raise PromptTemplateError(
                f"{_named(place)} has an error in line {error.lineno}: {problem}.",
                next_step=_CORRECT,
            ) from None
        for other in meta.find_referenced_templates(tree):
            if other is None or "/" in other or "\\" in other:
                raise PromptTemplateError(
                    f"{_named(place)} refers to a template that is not in its own folder.",
                    next_step="Name one that is, in quotes.",
                )
            wanted.append((other, files.beside(source, other)))
    return texts, main, called


def _made_in_bounds(
    texts: dict[str, str], main: str, variables: dict[str, str], called: dict[str, str]
) -> str:
    """Write the prompt in a child process: to write it can take any time, and all memory."""
    try:
        (answer,) = call(
            f"{__name__}:_told",
            *(texts, main, variables, called),
            within_seconds=limits().template_seconds,
            memory_bytes=limits().template_memory_bytes,
        )
    except GuardedError as error:
        raise PromptTemplateError(
            f"{called[main]} cannot be rendered: {str(error).rstrip('.')}.", next_step=_CORRECT
        ) from None
    told = json.loads(answer)
    if "error" in told:
        raise PromptTemplateError(told["error"], next_step=told["next_step"])
    return str(told["text"])


def _told(*asked: Any) -> bytes:
    """What `_made` makes, or what it raises, as JSON."""
    try:
        return json.dumps({"text": _made(*asked)}).encode()
    except PromptTemplateError as error:
        return json.dumps({"error": error.message, "next_step": error.next_step}).encode()


def _made(
    texts: dict[str, str], main: str, variables: dict[str, str], called: dict[str, str]
) -> str:
    """Write the prompt, once it is seen that each name in the templates is known."""
    sandboxed = sandbox(texts)
    trees = {name: sandboxed.parse(text) for name, text in texts.items()}
    given = {*variables, *sandboxed.globals}
    given |= {name.name for tree in trees.values() for name in tree.find_all(nodes.Name)
              if name.ctx == "store"}  # fmt: skip
    for name, tree in trees.items():
        if unknown := sorted(meta.find_undeclared_variables(tree) - given):
            raise PromptTemplateError(
                f"{called[name]} uses {', '.join(unknown)}, which a shot does not have.",
                next_step=f"It has {', '.join(variables)}.",
            )
    return _rendered(sandboxed, main, variables, called[main])


async def _read(place: str | Path) -> str:
    try:
        data = await files.load(place, max_bytes=limits().template_max_bytes)
        return data.decode("utf-8")
    except UnicodeDecodeError:
        problem = "is not UTF-8 text"
    except files.UnreadableError as error:
        problem = str(error)
    is_folder = problem == "is a folder"
    looked_at = files.beside(place, f"{Path(str(place)).name}/x") if is_folder else place
    there = await files.names_beside(looked_at, _SUFFIX)
    raise PromptTemplateError(
        f"{_named(place)} {problem}.",
        next_step=f"Name one of {', '.join(there)}." if there else "Point it to a template.",
    )


def _rendered(sandboxed: Environment, main: str, variables: Mapping[str, str], called: str) -> str:
    text, length = [], 0
    try:
        for piece in sandboxed.get_template(main).generate(variables):
            text.append(piece)
            length += len(piece)
            if length > limits().template_max_characters:
                raise _too_long(called)
    except PromptTemplateError:
        raise
    except (
        TemplateError,
        ArithmeticError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise PromptTemplateError(
            f"{called} cannot be rendered: {error}.", next_step=_CORRECT
        ) from None
    return "".join(text)


def _too_long(called: str) -> PromptTemplateError:
    return PromptTemplateError(
        f"{called} makes a prompt of more than {MAX_PROMPT_CHARACTERS:,} characters.",
        next_step="Shorten it.",
    )


def _named(place: str | Path) -> str:
    return f'The template "{files.public_address(place)}"'


__all__ = ["read_shot", "written"]
