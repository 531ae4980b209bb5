"""Bifrost: JSON alone, `provider/model`, ids that end in their provider, a list for each.

Sources: maximhq/bifrost, `inference.go` and `openai/videos.go` (2026); npm @maximhq/bifrost 1.6.3.
The server behind it is OpenAI's form.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from prefect_sora.servers.local.dialects.hosted.own_form import OwnForm
from prefect_sora.servers.local.dialects.openai import VIDEO_OPERATIONS, first_and_last, page_after
from prefect_sora.servers.local.requests.refusals import Refusal, bad
from prefect_sora.servers.local.state.jobs import Job


class Bifrost(OwnForm):
    """The gateway's own routes; those in OpenAI's form are another server's."""

    operations: ClassVar = VIDEO_OPERATIONS | {"remix"}
    models: ClassVar = ("openai/kite", "gemini/kite")

    def internal_id(self, shown: str) -> str:
        """What stands before the provider.

        Raises:
            Refusal: No provider stands behind a colon.
        """
        video_id, colon, provider = shown.rpartition(":")
        if not colon or not provider:
            raise Refusal(400, "video_id must be in the form id:provider")
        return video_id

    def read(self, values: Mapping[str, Any], verb: str) -> tuple[str, dict[str, Any]]:
        """As OpenAI's form; a picture is a data URL.

        Raises:
            Refusal: A picture is something else.
        """
        picture = values.get("input_reference")
        if picture is not None and not str(picture).startswith("data:"):
            raise bad("input_reference", "it must be a data URL")
        return verb, {
            "prompt": values.get("prompt"),
            "seconds": values.get("seconds"),
            "size": values.get("size"),
            "input_reference": {"image_url": picture} if picture else None,
        }

    def video(self, job: Job, request: Request) -> dict[str, Any]:
        """The Video, with where its file lies, and what the gateway knows of it."""
        url = self.file_url(job, request)
        return {
            **job.video(),
            "id": f"{job.id}:{_provider(job)}",
            "progress": float(job.progress),
            "videos": [{"type": "url", "url": url, "content_type": "video/mp4"}] if url else [],
            "extra_fields": {"provider": _provider(job)},
        }

    def page(self, jobs: Sequence[Job], request: Request) -> tuple[Sequence[Job], dict[str, Any]]:
        """Those of one provider.

        Raises:
            Refusal: None is named.
        """
        provider = request.query_params.get("provider")
        if not provider:
            raise Refusal(400, "provider query parameter is required")
        mine = [job for job in reversed(jobs) if _provider(job) == provider]
        after = request.query_params.get("after", "").rpartition(":")[0] or None
        page, more = page_after(mine, after, int(request.query_params.get("limit", "20")))
        ends = {name: one and f"{one}:{provider}" for name, one in first_and_last(page).items()}
        return page, {"object": "list", **ends, "has_more": more}

    def deleted(self, job: Job, request: Request) -> dict[str, Any]:
        """With the id that was shown."""
        return {**super().deleted(job, request), "id": f"{job.id}:{_provider(job)}"}

    def refuse(self, refusal: Refusal, request: Request) -> Response:
        """The error of the server behind it, with its own words around it."""
        body = {"is_bifrost_error": False, "status_code": refusal.status, **refusal.openai()}
        return JSONResponse(body, refusal.status, headers=refusal.headers)


def _provider(job: Job) -> str:
    return job.model.partition("/")[0]
