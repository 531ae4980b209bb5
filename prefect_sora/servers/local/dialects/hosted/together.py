"""Together: `/v2/videos`, seconds as a text, width and height, the file under `outputs`.

Sources: Python package together 3.1.1, together-ai 0.52.0 (JS), togethercomputer/skills (2026).
Times are ISO texts, as in its samples; the types say numbers. Errors like OpenAI's are not sure.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from starlette.requests import Request

from prefect_sora.servers.local.dialects.hosted.own_form import OwnForm, source_at, whole
from prefect_sora.servers.local.requests.fields import EDGE_LIMIT
from prefect_sora.servers.local.requests.refusals import bad
from prefect_sora.servers.local.state.jobs import Job


class Together(OwnForm):
    """The hosted service; of its other APIs there is nothing here."""

    prefixes: ClassVar = ("",)
    paths: ClassVar = {"create": "/v2/videos", "retrieve": "/v2/videos/{video_id}"}
    operations: ClassVar = frozenset({"create", "retrieve"})
    models: ClassVar = ("local/kite",)

    def read(self, values: Mapping[str, Any], verb: str) -> tuple[str, dict[str, Any]]:
        """A source video makes it an edit.

        Raises:
            Refusal: A field of another type.
        """
        seconds, media = values.get("seconds"), values.get("media") or {}
        if seconds is not None and not isinstance(seconds, str):
            raise bad("seconds", "expected a string", "invalid_type")
        if source := media.get("source_video"):
            return "edit", {
                "prompt": values.get("prompt"),
                "video": source_at(source, "media.source_video"),
            }
        width = whole(values, "width", 16, EDGE_LIMIT) or 1366
        height = whole(values, "height", 16, EDGE_LIMIT) or 768
        first = [one for one in media.get("frame_images", ()) if one["frame"] in ("first", 0)]
        return verb, {
            "prompt": values.get("prompt"),
            "seconds": seconds,
            "size": f"{width}x{height}",
            "input_reference": {"image_url": first[0]["input_image"]} if first else None,
        }

    def video(self, job: Job, request: Request) -> dict[str, Any]:
        """No prompt, progress or expiry."""
        shown: dict[str, Any] = {
            "id": job.id,
            "object": "video",
            "model": job.model,
            "status": job.status,
            "created_at": _written(job.created_at),
            "completed_at": _written(self.ended_at(job)),
            "size": job.size,
            "seconds": str(job.seconds),
        }
        if job.error:
            shown["error"] = job.error
        if url := self.file_url(job, request):
            shown["outputs"] = {"cost": self.cost_usd(job), "video_url": url}
        return shown


def _written(time: int | None) -> str | None:
    return None if time is None else datetime.fromtimestamp(time, UTC).isoformat()
