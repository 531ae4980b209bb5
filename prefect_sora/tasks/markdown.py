"""Markdown: the pages of clips and pictures, and their parts, as the Prefect UI shows them."""

import base64
import html
import re
from typing import Any, Protocol
from urllib.parse import urlsplit

from pydantic import JsonValue

from prefect_sora.errors import SoraError
from prefect_sora.errors.shown import one_line
from prefect_sora.handles import StoredImage, StoredVideo
from prefect_sora.limits import limits
from prefect_sora.servers.video_prices import side_by_side
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger


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


class Costly(Protocol):
    """A job, a clip, pictures or a film."""

    @property
    def cost_usd(self) -> float | None:
        """By its server's prices."""

    @property
    def actual_usd(self) -> float | None:
        """By its server's word."""


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


def cost(of: Costly) -> str:
    """Write what something cost: estimated, and what its server says, if that is believed."""
    doubt = getattr(of, "cost_doubt", None)
    said = f" (not believed of it: {plain(doubt)})" if doubt else ""
    return f"{side_by_side(of.cost_usd, of.actual_usd)}{said}"


def table(facts: list[tuple[str, str]]) -> str:
    """Write facts in a table; the first is its head, because a Markdown table needs one."""
    rows = []
    for name, value in facts:
        name = name.replace(" ", "\N{NO-BREAK SPACE}")
        rows.append(f"| {name} | {value} |")
    return "\n".join([rows[0], "| --- | --- |", *rows[1:]])


def plain(text: str) -> str:
    """Keep the text of a prompt or a server from becoming markup, a link or a line of its own."""
    text = re.sub(r"([\\`*_{}\[\]()<>#!~&])", r"\\\1", one_line(text))
    # Readers make links of what looks like an address, too.
    text = re.sub(r"(:)(?=//)|(?<=www)(\.)|(?<=\w)(@)(?=\w)", r"\\\g<0>", text, flags=re.IGNORECASE)
    # Two backslashes before a bar keep it in its cell in some readers alone; an entity does in
    # all, but one of the UI's shows it as typed.
    text = re.sub(r"(?<!\\)\|", r"\|", text).replace("\\\\|", "\\\\&#124;")
    return re.sub(r"^(\d*)([-+=.])", r"\1\\\2", text)  # at the start they begin a list or a rule


def cells(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a table artifact, each text on one line."""
    return [{n: one_line(v) if isinstance(v, str) else v for n, v in r.items()} for r in rows]


def code(text: str) -> str:
    """Write text that is to be copied unchanged, as far as it can stand in a table's cell."""
    text = one_line(text)
    return plain(text) if not text or {*"`|\\"} & {*text} else f"`{text}`"


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


async def image_page(image: StoredImage, folder: VideoFolder) -> str:
    """Write the page of kept pictures."""
    parts = [f"## {plain(image.title)}"]
    small = await read_small(folder, f"{image.folder}/thumbnail.webp")
    if small:
        parts.append(f"![picture]({data_url('image/webp', small)})")
    clear = ", transparent" if image.has_alpha else ""
    facts = [
        ("Made by", plain(", ".join(filter(None, (image.provider, image.model))))),
        ("Picture", f"{image.width} x {image.height} {image.format}{clear}"),
        ("Cost", cost(image)),
        ("Render key", code(image.key)),
        ("Take", str(image.take)),
        *((size(f.size_bytes), code(url)) for f, url in zip(image.files, image.urls, strict=True)),
    ]
    return "\n\n".join([*parts, table(facts)])


async def video_page(video: StoredVideo, folder: VideoFolder) -> str:
    """Write the page. One of the UI's two bundles plays the video element, the other drops it."""
    asked = await _asked(video, folder)
    parts = [f"## {plain(video.title)}"]
    prompt = str(asked.get("prompt") or "")
    if " ".join(prompt.split()) != video.title:  # which is its beginning
        parts.append("\n".join(f"> {plain(line)}" for line in prompt.splitlines()))
    preview = (
        await read_small(folder, f"{video.folder}/preview.webp") if video.preview_url else None
    )
    if preview:
        parts.append(f"![preview]({data_url('image/webp', preview)})")
    parts.append(await player(video, folder, f"{video.folder}/video.mp4"))
    parts.append(table(_facts(video, asked)))
    return "\n\n".join(parts)


async def _asked(video: StoredVideo, folder: VideoFolder) -> dict[str, JsonValue]:
    """Read what was asked for; nothing where that cannot be read."""
    try:
        reserved = await Ledger(folder).reservation(video.folder, video.attempt)
    except SoraError:
        return {}
    return reserved.request if reserved else {}


def _facts(video: StoredVideo, asked: dict[str, JsonValue]) -> list[tuple[str, str]]:
    """What there is to know of a video, the facts that people look for first."""
    length = f", {video.duration_seconds:.2f} s" if video.duration_seconds else ""
    different = f" ({', '.join(video.differences)})" if video.differences else ""
    seconds = f"{asked['seconds']} s" if asked.get("seconds") else None
    wanted = [str(part) for part in (asked.get("model"), asked.get("size"), seconds) if part]
    facts = [
        ("Video id", code(video.video_id)),
        ("Made by", plain(", ".join(filter(None, (video.provider, video.model))))),
        *([("Asked for", plain(", ".join(wanted)))] if wanted else []),
        ("Picture", f"{video.width} x {video.height}{length}{different}"),
        ("Cost", cost(video)),
        ("Size", size(video.size_bytes)),
        ("SHA-256", code(video.sha256)),
        ("Render key", code(video.key)),
        ("Take", str(video.take)),
    ]
    return [*facts, ("Remix of", code(video.parent_key))] if video.parent_key else facts


def in_short(video: StoredVideo) -> str:
    """Write the line that stands for the video in lists."""
    length = f" · {video.duration_seconds:.0f} s" if video.duration_seconds else ""
    different = " · not as asked" if video.differences else ""
    return f"{video.title} · {video.width}x{video.height}{length}{different}"
