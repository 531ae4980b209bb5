"""Markdown: the parts of an artifact's Markdown, as the Prefect UI shows them."""

import base64
import html
import re
from typing import Protocol
from urllib.parse import urlsplit

from prefect_sora.errors import SoraError
from prefect_sora.limits import limits
from prefect_sora.servers.video_prices import dollars
from prefect_sora.store.backends import VideoFolder


class Playable(Protocol):
    """A kept video, clip or film."""

    @property
    def url(self) -> str:
        """Where it is."""

    @property
    def size_bytes(self) -> int:
        """Its size."""

    @property
    def width(self) -> int:
        """Pixels."""

    @property
    def height(self) -> int:
        """Pixels."""


async def player(video: Playable, folder: VideoFolder, name: str) -> str:
    """Play a video, where a page can, and say where it is.

    One of the UI's two bundles plays the video element, the other drops it.
    """
    parts = []
    on_the_web = urlsplit(video.url).scheme in ("http", "https")
    source = video.url if on_the_web else None
    if video.size_bytes <= limits().inline_max_bytes:
        clip = await read_small(folder, name)
        source = data_url("video/mp4", clip) if clip else source
    if source:
        longer_side = "width" if video.width >= video.height else "height"
        parts.append(
            f'<video controls loop muted playsinline {longer_side}="640" '
            f'src="{html.escape(source, quote=True)}"></video>'
        )
    parts.append(f"[Open the video file](<{video.url}>)" if on_the_web else code(video.url))
    return "\n\n".join(parts)


def cost(usd: float | None) -> str:
    """Write a cost in USD; one that is not known is never written as 0."""
    return dollars(usd)


def table(facts: list[tuple[str, str]]) -> str:
    """Write facts in a table; the first is its head, because a Markdown table needs one."""
    rows = []
    for name, value in facts:
        name = name.replace(" ", "\N{NO-BREAK SPACE}")
        value = re.sub(r"(?<!\\)\|", r"\\|", value)  # a bar ends a cell, in code too
        rows.append(f"| {name} | {value} |")
    return "\n".join([rows[0], "| --- | --- |", *rows[1:]])


def plain(text: str) -> str:
    """Keep a prompt's own characters from becoming markup."""
    text = re.sub(r"([\\`*_{}\[\]()<>#!|~&])", r"\\\1", text)
    return re.sub(r"^(\d*)([-+=.])", r"\1\\\2", text)  # at the start they begin a list or a rule


def code(text: str) -> str:
    """Write text that is to be copied unchanged."""
    return plain(text) if "`" in text else f"`{text}`"


def size(size_bytes: int) -> str:
    """Write a file's size."""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e5 else f"{size_bytes / 1e3:.1f} kB"


def data_url(content_type: str, data: bytes) -> str:
    """Write a file into the page itself."""
    return f"data:{content_type};base64,{base64.b64encode(data).decode()}"


async def read_small(folder: VideoFolder, name: str) -> bytes | None:
    """A small file of the store; None where it cannot be read."""
    try:
        return await folder.read(name)
    except SoraError:
        return None
