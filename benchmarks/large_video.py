"""A video server with two videos, `small` and `large`; the large one exists only while it is sent.

`python -m benchmarks.large_video PORT MEGABYTES`. Both are real MP4 files, index first.
The large one's pictures are moved apart, with filler between them, so that reading a
late one means reaching across the whole file.
"""

import os
import struct
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

PICTURES = 60
PICTURES_PER_SECOND = 2  # 30 s: longer than what is decoded in one pass

_FILLER = bytes(256 * 1024)


@dataclass(frozen=True)
class SpreadVideo:
    """A video whose chunks lie apart.

    Attributes:
        head: Everything before the media, `mdat` header included.
        chunks: The media, in pieces that stand together.
        gap_bytes: Filler after each chunk.
    """

    head: bytes
    chunks: tuple[bytes, ...]
    gap_bytes: int

    @property
    def size_bytes(self) -> int:
        """Of the whole file."""
        return len(self.head) + sum(len(chunk) + self.gap_bytes for chunk in self.chunks)

    async def stream(self) -> AsyncIterator[bytes]:
        """The file, in pieces."""
        yield self.head
        for chunk in self.chunks:
            yield chunk
            left = self.gap_bytes
            while left:
                piece = _FILLER[: min(left, len(_FILLER))]
                left -= len(piece)
                yield piece


def encode(width: int, height: int, pictures: int) -> bytes:
    """Make a video of clouds in all colours, each of its pictures a keyframe.

    At 24 pictures a second in place of two it would have some 75 Mbit/s, several times what
    video models make.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"  # FFmpeg reads it again to put the index first
        with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
            stream: Any = container.add_stream("libx264", rate=PICTURES_PER_SECOND)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.options = {"preset": "ultrafast", "qp": "24"}
            stream.gop_size = 1
            noise = av.VideoFrame(width // 8, height // 8, "yuv420p")
            for _ in range(pictures):
                for plane in noise.planes:
                    plane.update(os.urandom(plane.buffer_size))
                frame = noise.reformat(width, height, interpolation="BICUBIC")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path.read_bytes()


def spread(video: bytes, size_bytes: int) -> SpreadVideo:
    """Move the chunks of an index-first video apart until it has about that size.

    The index keeps its length: only the chunk offsets in it (ISO/IEC 14496-12, 8.7.5) change.
    """
    media_at = video.index(b"mdat") + 4
    table = video.index(b"stco") + 8
    (count,) = struct.unpack_from(">I", video, table)
    starts = struct.unpack_from(f">{count}I", video, table + 4)
    chunks = [video[a:b] for a, b in zip(starts, (*starts[1:], len(video)), strict=True)]
    gap = max(0, size_bytes - len(video)) // count
    moved, at = [], media_at
    for chunk in chunks:
        moved.append(at)
        at += len(chunk) + gap
    head = bytearray(video[:media_at])
    struct.pack_into(f">{count}I", head, table + 4, *moved)
    struct.pack_into(">I", head, media_at - 8, at - media_at + 8)
    return SpreadVideo(bytes(head), tuple(chunks), gap)


def application(size_bytes: int) -> Starlette:
    """Serve the two."""
    videos = {
        "small": spread(encode(64, 64, 2), 0),
        "large": spread(encode(1280, 720, PICTURES), size_bytes),
    }

    async def content(request: Request) -> Response:
        video = videos[request.path_params["video_id"]]
        return StreamingResponse(
            video.stream(),
            media_type="video/mp4",
            headers={"Content-Length": str(video.size_bytes)},
        )

    return Starlette(routes=[Route("/v1/videos/{video_id}/content", content)])


if __name__ == "__main__":
    uvicorn.run(application(int(sys.argv[2]) * 2**20), port=int(sys.argv[1]), log_level="warning")
