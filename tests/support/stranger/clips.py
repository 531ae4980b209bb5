"""Clips: a real MP4 for each job, which says whose it is, and a picture."""

import functools
import io

import av
from PIL import Image

PIXELS = 64


@functools.cache
def _film() -> bytes:
    """One second, made once."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=24)
        stream.width, stream.height, stream.pix_fmt = PIXELS, PIXELS, "yuv420p"
        frame = av.VideoFrame.from_image(_image())  # type: ignore[no-untyped-call]  # PyAV's
        for n in range(24):
            frame.pts = n
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return out.getvalue()


def _image() -> Image.Image:
    return Image.new("RGB", (PIXELS, PIXELS), "olive")


def clip(job_id: str) -> bytes:
    """The video of a job: the same for all, but for its id in a box that players skip."""
    said = job_id.encode()
    return _film() + (8 + len(said)).to_bytes(4, "big") + b"free" + said


def whose(film: bytes) -> str:
    """Which job's video it is."""
    return film.rpartition(b"free")[2].decode()


@functools.cache
def picture() -> bytes:
    """A PNG."""
    out = io.BytesIO()
    _image().save(out, "PNG")
    return out.getvalue()
