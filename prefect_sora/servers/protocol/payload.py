"""Payload: where each kind of render is sent, and what it says there, as the profile has it."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import quote

from prefect_sora.errors import InvalidRequestError
from prefect_sora.errors.redaction import MASK
from prefect_sora.limits import limits
from prefect_sora.requests.reference import Reference
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.costs.catalogue import as_offered
from prefect_sora.servers.profiles import PATHS, Profile, Route
from prefect_sora.servers.profiles.sizes import size_fields
from prefect_sora.servers.server import Server

_LINES: Final = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029]")
"""What controls a terminal or ends a line: an id that holds any is one that somebody made up."""


@dataclass(frozen=True)
class Order:
    """A create request.

    Attributes:
        path: Below the base_url.
        fields: What it says.
        picture: What it brings as a file.
    """

    path: str
    fields: dict[str, Any]
    picture: Reference | None = None


def path_of(profile: Profile, route: Route, video_id: str = "") -> str:
    """Where a request goes, below the base_url.

    Raises:
        InvalidRequestError: The id is none; nothing was sent.
    """
    path = profile.paths.get(route, PATHS[route])
    return path.replace("{id}", segment(video_id)) if "{id}" in path else path


def is_id(text: str) -> bool:
    """Say whether a text can be a job's id: one segment of a path, which can be written down."""
    dots = text in ("", ".", "..")  # they lead to another path, however they are written
    long = len(text) > limits().id_max_characters
    return not (dots or long or MASK in text or _LINES.search(text))


def segment(name: str) -> str:
    """Write an id as one segment of a path.

    Raises:
        InvalidRequestError: It cannot be one; nothing was sent.
    """
    if not is_id(name):
        raise InvalidRequestError(
            f"{name[:20]!r} is no id of a server.",
            next_step="`prefect-sora list` shows the ids of its videos.",
        )
    return quote(name, safe="")


def order(
    request: VideoRequest,
    server: Server,
    reference: Reference | None = None,
    source_url: str | None = None,
    callback_url: str | None = None,
) -> Order:
    """Write a create request as the server's profile says it; without one, in OpenAI's form.

    Fields of OpenAI's form: openapi.yaml (2026-08-21); `characters`: its video guide (2026).

    Args:
        request: What is to be rendered.
        server: Who is asked.
        reference: The picture that it starts from.
        source_url: Where the source's file lies, for a profile that names it by that.
        callback_url: Where to tell of the job's end, for a profile that has a field for it.

    Raises:
        InvalidRequestError: The server has no such size.
    """
    can, kind = server.profile, request.kind
    route = cast(Route, "create" if kind == "existing" else kind)
    fields: dict[str, Any] = {"prompt": request.prompt}
    if kind == "create" or can.model_required:
        fields["model"] = server.deployment or server.model_for(request.model)
    if kind == "create":
        fields |= size_fields(request.size, as_offered(request, can, server.base_url))
    if kind in ("create", "extend"):
        fields[can.length_field] = (
            request.seconds if can.length_type == "int" else f"{request.seconds}"
        )
    if kind in ("edit", "extend"):
        known = {"{id}": str(request.source_video_id), "{url}": source_url or ""}
        fields = merged(fields, _filled(can.source_fields, known))
    if request.characters:
        fields["characters"] = [{"id": name} for name in request.characters]
    if reference and can.image_transport != "file":
        url = str(request.reference) if can.image_transport == "https" else reference.data_url
        fields = merged(fields, _filled(can.image_fields, {"{image}": url}))
    if can.callback_field and callback_url:
        fields[can.callback_field] = callback_url
    given = merged(fields, request.extra)
    return Order(
        path=path_of(can, route, str(request.source_video_id)),
        fields={name: value for name, value in given.items() if value is not None},
        picture=reference if can.image_transport == "file" else None,
    )


def names_source_by_url(profile: Profile) -> bool:
    """Whether an edit or extension says where the file of its source lies."""
    return "{url}" in str(profile.source_fields)


def merged(fields: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Put two sets of fields together: objects are joined, lists put one behind the other."""
    out = dict(fields)
    for name, value in more.items():
        mine = out.get(name)
        if isinstance(mine, Mapping) and isinstance(value, Mapping):
            out[name] = merged(mine, value)
        elif isinstance(mine, list) and isinstance(value, list):
            out[name] = [*mine, *value]
        else:
            out[name] = value
    return out


def _filled(template: Any, known: Mapping[str, str]) -> Any:
    """Write what is known into a template of fields."""
    if isinstance(template, Mapping):
        return {name: _filled(value, known) for name, value in template.items()}
    if isinstance(template, list):
        return [_filled(value, known) for value in template]
    return known.get(template, template) if isinstance(template, str) else template


def encoded(fields: Mapping[str, Any], files: Sequence[Any] | None) -> dict[str, Any]:
    """Return the body of a request as the HTTP library takes it.

    Args:
        fields: What is said. A form has no standard place for a nested value: it goes as JSON text.
        files: What a form holds besides, if only nothing; None: it goes as JSON.
    """
    if files is None:
        return {"json": fields}
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in fields.items()}
    return {"files": [*((name, (None, text.encode())) for name, text in texts.items()), *files]}
