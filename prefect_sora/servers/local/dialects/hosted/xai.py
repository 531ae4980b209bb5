"""xAI: paths of its own, 202 while a job is pending, sources by URL, three shapes of errors.

Sources: xai-sdk 1.21.0, @ai-sdk/xai 5.0.12. Which error has which shape is ours.
"""

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from prefect_sora.servers.local.dialects.hosted.own_form import OwnForm, size_of, source_at, whole
from prefect_sora.servers.local.requests.refusals import Refusal, bad
from prefect_sora.servers.local.state.jobs import Job

_TICKS = 10**10
"""So many are one USD."""

_RESOLUTIONS = ("480p", "720p", "1080p")
_RATIOS = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3")


class XAI(OwnForm):
    """Grok Imagine."""

    operations: ClassVar = frozenset({"create", "edit", "extend", "retrieve"})
    paths: ClassVar = {"create": "/videos/generations"}
    models: ClassVar = ("grok-imagine-video", "grok-imagine-video-1.5")
    extension_seconds: ClassVar = range(2, 11)

    def new_id(self) -> str:
        """A request's."""
        return str(uuid4())

    def read(self, values: Mapping[str, Any], verb: str) -> tuple[str, dict[str, Any]]:
        """Each path says what is asked for; a source is where its file lies.

        Raises:
            Refusal: A field of another type, or a shape that is not offered.
        """
        wanted: dict[str, Any] = {"prompt": values.get("prompt")}
        if verb != "create":
            source = values.get("video") or {}
            wanted["video"] = source_at(source.get("url"), "video")
            if verb == "extend":
                wanted["seconds"] = whole(values, "duration", 2, 10) or 6
            elif "duration" in values:
                raise bad("duration", "an edit has its source's")
            return verb, wanted
        resolution = values.get("resolution") or "480p"
        ratio = values.get("aspect_ratio") or "16:9"
        if resolution not in _RESOLUTIONS or ratio not in _RATIOS:
            raise bad("resolution", f"{resolution} in {ratio} is not supported")
        image = values.get("image")
        return verb, {
            **wanted,
            "seconds": whole(values, "duration", 1, 15) or 8,
            "size": size_of(resolution, ratio),
            "input_reference": {"image_url": image["url"]} if image else None,
        }

    def created(self, job: Job, request: Request) -> Response:
        """The id alone."""
        return JSONResponse({"request_id": job.id})

    def retrieved(self, job: Job, request: Request) -> Response:
        """202 without a body while it waits; then its progress; a job says no id."""
        if job.status == "queued":
            return Response(status_code=202)
        return JSONResponse(self.video(job, request), 202 if job.status == "in_progress" else 200)

    def video(self, job: Job, request: Request) -> dict[str, Any]:
        """A job whose video moderation withholds is done, and has no file."""
        withheld = job.status == "failed" and job.fate == "moderate"
        if job.status == "failed" and not withheld:
            return {"status": "failed", "error": job.error}
        if not job.finished:
            return {"status": "pending", "progress": job.progress}
        return {
            "status": "done",
            "progress": 100,
            "model": job.model,
            "video": {
                "url": self.file_url(job, request),
                "duration": job.seconds,
                "respect_moderation": not withheld,
            },
            "usage": {"cost_in_usd_ticks": int(self.cost_usd(job) * _TICKS)},
        }

    def missing(self, video_id: str, request: Request) -> Refusal:
        """No such request."""
        return Refusal(404, f"The requested resource was not found: {video_id[:80]}.")

    def refuse(self, refusal: Refusal, request: Request) -> Response:
        """One of three shapes."""
        body: dict[str, Any] = refusal.openai()
        if refusal.status == 401:
            body = {"error": refusal.message}
        elif refusal.status == 404 or refusal.code in ("moderation_blocked", "insufficient_quota"):
            code = refusal.code or "Some requested entity was not found"
            body = {"code": code, "error": refusal.message}
        return JSONResponse(body, refusal.status, headers=refusal.headers)
