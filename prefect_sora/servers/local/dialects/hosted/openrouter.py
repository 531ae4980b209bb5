"""OpenRouter: 202, jobs that say little, files behind the key, 402 in two meanings.

Sources: Python package openrouter 1.3.84, @openrouter/ai-sdk-provider 2.10.0, OpenRouterTeam/docs
(2026-08-22). What a create with `previous_job_id` and no `duration` is, an edit, is ours; so is
409 for a file that is not there yet.
"""

import secrets
import string
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from prefect_sora.servers.local.dialects.hosted.own_form import (
    USD_PER_SECOND,
    OwnForm,
    size_of,
    whole,
)
from prefect_sora.servers.local.dialects.openai import Guard
from prefect_sora.servers.local.requests.refusals import Refusal, bad
from prefect_sora.servers.local.requests.video_orders import SECONDS_LIMIT
from prefect_sora.servers.local.state.jobs import Job, Jobs

_LETTERS = string.ascii_letters + string.digits
_RESOLUTIONS = ("360p", "480p", "720p", "768p", "1080p")
_RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9", "9:21")
_LIMITED_NAME = "local/kite-lite"
_LIMITED: dict[str, Any] = {
    "supported_durations": [2, 4],
    "supported_resolutions": ["360p", "720p"],
    "supported_aspect_ratios": ["16:9", "9:16"],
    "supported_sizes": ["640x360"],
    "supported_frame_images": [],
    "generate_audio": False,
    "seed": False,
    "pricing_skus": {"cents_per_second_output": f"{100 * USD_PER_SECOND:g}"},
}
"""What the catalogue says of a model with limits, which are kept."""
_FLAGGED = ("content_policy_violation", "moderation_blocked")


class OpenRouter(OwnForm):
    """The hosted router; with `cloud` it keeps copies of its own, at signed URLs."""

    prefixes: ClassVar = ("/api/v1",)
    operations: ClassVar = frozenset({"create", "retrieve", "content"})
    models: ClassVar = ("local/kite", _LIMITED_NAME)
    created_status: ClassVar = 202

    def new_id(self) -> str:
        """A generation's."""
        return "gen-vid-" + "".join(secrets.choice(_LETTERS) for _ in range(20))

    def read(self, values: Mapping[str, Any], verb: str) -> tuple[str, dict[str, Any]]:
        """An edit or extension is a create that names a job before it.

        Raises:
            Refusal: A field of another type, or a shape that is not offered.
        """
        seconds = whole(values, "duration", 1, SECONDS_LIMIT)
        if values["model"] == _LIMITED_NAME:
            _hold_to_limits(values)
        wanted: dict[str, Any] = {"prompt": values.get("prompt")}
        if source := values.get("previous_job_id"):
            verb = "edit" if seconds is None else "extend"
            return verb, {**wanted, "seconds": seconds, "video": {"id": source}}
        return verb, {
            **wanted,
            "seconds": seconds,
            "size": _size(values),
            "input_reference": _first_frame(values.get("frame_images")),
        }

    def file_url(self, job: Job, request: Request) -> str | None:
        """Copies lie at another origin: this machine's other name stands for it."""
        url = super().file_url(job, request)
        return url and url.replace("//127.0.0.1:", "//localhost:")

    def video(self, job: Job, request: Request) -> dict[str, Any]:
        """No model, prompt, size, length, time or progress."""
        root = f"{request.base_url}{self.prefixes[0].lstrip('/')}/videos/{job.id}"
        status = "pending" if job.status == "queued" else job.status
        shown: dict[str, Any] = {"id": job.id, "polling_url": root, "status": status}
        if job.status == "failed" and job.error:
            moderated = job.error["code"] in _FLAGGED
            shown["error"] = "Content policy violation" if moderated else job.error["message"]
        if job.status == "completed":
            shown["generation_id"] = job.id.replace("gen-vid-", "gen-")
            shown["unsigned_urls"] = [f"{root}/content?index=0"]
            shown["usage"] = {"cost": self.cost_usd(job), "is_byok": False}
            if self.options.cloud:
                shown["urls"] = [self.file_url(job, request)]
                shown["expires_at"] = job.expires_at
        return shown

    def created(self, job: Job, request: Request) -> Response:
        """As it was accepted, whatever has become of it since."""
        shown = self.video(job, request)
        told = {name: shown[name] for name in ("id", "polling_url")}
        return JSONResponse({**told, "status": "pending"}, self.created_status)

    def content(self, job: Job, jobs: Jobs, request: Request) -> Response:
        """The one output.

        Raises:
            Refusal: It is not there, or not yet.
        """
        if request.query_params.get("index", "0") != "0":
            raise Refusal(400, "Invalid output index.")
        path = jobs.file_of(job)
        if job.status != "completed" or path is None:
            raise Refusal(409, f"Video is not ready: {job.status}.")
        return FileResponse(path, media_type="video/mp4")

    def card(self, name: str) -> dict[str, Any]:
        """A model as the live catalogue has it; prices are texts. The first has no limits."""
        return {
            "id": name,
            "name": name,
            "supported_durations": None,
            "supported_resolutions": None,
            "supported_aspect_ratios": None,
            "supported_sizes": None,
            "supported_frame_images": ["first_frame", "last_frame"],
            "generate_audio": True,
            "seed": True,
            "allowed_passthrough_parameters": [],
            "pricing_skus": {"duration_seconds": f"{USD_PER_SECOND}"},
            **(_LIMITED if name == _LIMITED_NAME else {}),
        }

    def routes(self, jobs: Jobs, guard: Guard) -> Sequence[BaseRoute]:
        """The live catalogue, which asks for no key; and files."""

        async def models(_: Request) -> Response:
            return JSONResponse({"data": [self.card(name) for name in self.served]})

        listed = guard("models", models, keyless=True)
        files = super().routes(jobs, guard) if self.options.cloud else []
        return [Route(f"{self.prefixes[0]}/videos/models", listed, methods=["GET"]), *files]

    def missing(self, video_id: str, request: Request) -> Refusal:
        """No such job."""
        return Refusal(404, "Job not found")

    def no_model(self, name: str) -> Refusal:
        """There is no such model here."""
        return Refusal(400, f"{name} is not a valid model ID")

    def refuse(self, refusal: Refusal, request: Request) -> Response:
        """The status as the code, and what programs may read in `metadata`."""
        error: dict[str, Any] = {"code": refusal.status, "message": refusal.message}
        if refusal.code in _FLAGGED:
            error["metadata"] = {
                "error_type": "content_policy_violation",
                "reasons": ["violence"],
                "flagged_input": "…",
                "provider_name": "Local",
                "model_slug": self.served[0],
            }
        elif refusal.status == 402:
            error["metadata"] = {"limit_source": refusal.code or "openrouter_credits"}
        elif refusal.code:
            error["metadata"] = {"error_type": refusal.code}
        return JSONResponse(
            {"error": error, "user_id": "user_local"}, refusal.status, headers=refusal.headers
        )


def _size(values: Mapping[str, Any]) -> str | None:
    resolution, ratio = values.get("resolution"), values.get("aspect_ratio")
    if resolution is None and ratio is None:
        return values.get("size") or "1280x720"
    if values.get("size"):
        raise bad("size", "it stands in the place of resolution and aspect_ratio")
    resolution, ratio = resolution or "720p", ratio or "16:9"
    if resolution not in _RESOLUTIONS or ratio not in _RATIOS:
        raise bad("resolution", f"{resolution} in {ratio} is not supported")
    return size_of(resolution, ratio)


def _hold_to_limits(values: Mapping[str, Any]) -> None:
    """Refuse what the catalogue does not offer.

    Raises:
        Refusal: It says which field.
    """
    offered = {
        "duration": _LIMITED["supported_durations"],
        "size": _LIMITED["supported_sizes"],
        "resolution": _LIMITED["supported_resolutions"],
        "aspect_ratio": _LIMITED["supported_aspect_ratios"],
        "frame_images": [],
    }
    for name, values_of in offered.items():
        if values.get(name) not in (None, *values_of):
            raise bad(name, f"{values[name]} is not supported by {_LIMITED_NAME}")


def _first_frame(images: Any) -> dict[str, Any] | None:
    for image in images or ():
        if image["frame_type"] == "first_frame":
            return {"image_url": image["image_url"]["url"]}
    return None
