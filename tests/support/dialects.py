"""What the tests of all dialects need: small requests, a picture, the end of a job."""

import io
from typing import Any

import av
import httpx2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.support.renderer import Renderer, until

SMALL = {"prompt": "a fox", "size": "64x64", "seconds": "1"}

TEAL = (0, 128, 128)


def form(**fields: Any) -> dict[str, Any]:
    """A multipart form, as httpx2 takes it: texts, and files as bytes."""
    return {
        name: (f"{name}.png", value, "image/png") if isinstance(value, bytes) else (None, value)
        for name, value in fields.items()
    }


def picture(width: int = 40, height: int = 90) -> bytes:
    """A PNG, teal but for its ends; not of the video's size, which only OpenAI's form minds."""
    image = Image.new("RGB", (width, height), "red")
    image.paste(TEAL, (0, height // 5, width, height - height // 5))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def first_frame(video: bytes) -> NDArray[np.uint8]:
    """The first frame of a video file: rows of pixels, each red, green and blue."""
    with av.open(io.BytesIO(video), "r") as file:
        frame = next(file.decode(video=0)).to_ndarray(format="rgb24")
    return frame.astype(np.uint8)


def ended(client: httpx2.Client, video_id: str) -> httpx2.Response:
    """Poll until a job is completed or failed; return that answer, whatever its status."""

    def over() -> httpx2.Response | None:
        answer = client.get(f"/videos/{video_id}")
        return answer if answer.json()["status"] in ("completed", "failed") else None

    answer: httpx2.Response = until(over, f"{video_id} ends")
    return answer


def shape(answer: httpx2.Response) -> tuple[int, Any]:
    """Status and body: what a client can tell apart."""
    return answer.status_code, answer.json()


def settled(renderer: Renderer) -> None:
    """Wait until nothing is left to render."""
    until(
        lambda: (counts := renderer.counts())["queued"] == counts["rendering"] == 0,
        "nothing is left to render",
    )


def words(text: str) -> list[str]:
    """The names of fields, in the order in which they are sent."""
    return text.split()


FASTAPI_ROUTES_LACKING = pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/videos/edits", 405),
        ("POST", "/videos/extensions", 405),
        ("POST", "/videos/characters", 405),
        ("POST", "/videos/x/remix", 404),
        ("GET", "/videos/characters/x", 404),
    ],
)
"""What servers that only create lack, and what FastAPI answers there."""


def has_no_route(client: httpx2.Client, method: str, path: str, status: int) -> None:
    """Check that a route is answered as FastAPI answers one that it does not have."""
    answer = client.request(method, path, json={"prompt": "a fox"})

    said = {404: "Not Found", 405: "Method Not Allowed"}
    assert shape(answer) == (status, {"detail": said[status]})
