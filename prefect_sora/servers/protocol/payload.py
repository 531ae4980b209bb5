"""Payload: where each kind of render is sent, and what it says there."""

from typing import Any
from urllib.parse import quote

from prefect_sora.requests.video import VideoRequest


def order(request: VideoRequest, model: str | None) -> tuple[str, dict[str, Any]]:
    """Return the path below /v1 and the fields of a create request, in OpenAI's form.

    Paths and fields: OpenAI's openapi.yaml (2026-08-21); `characters`: its video guide (2026).

    Args:
        request: What is to be rendered.
        model: The model's name as this server knows it; None is not sent.
    """
    source = str(request.source_video_id)
    fields: dict[str, Any] = {"prompt": request.prompt}
    match request.kind:
        case "remix":
            path = f"/videos/{quote(source, safe='')}/remix"
        case "edit":
            path = "/videos/edits"
            fields["video"] = {"id": source}
        case "extend":
            path = "/videos/extensions"
            fields |= {"seconds": f"{request.seconds}", "video": {"id": source}}
        case _:
            path = "/videos"
            fields |= {
                "model": model,
                "size": request.size,
                "seconds": f"{request.seconds}",
            }
            if request.characters:
                fields["characters"] = [{"id": name} for name in request.characters]
    given = {**fields, **request.extra}
    return path, {name: value for name, value in given.items() if value is not None}
