"""Contact sheets: the very last frame, and a contact sheet of a film's shots."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import av
from PIL import Image, ImageDraw, ImageFont

from prefect_sora.media.frames import OpenVideo, file_of, image_of, opened, unreadable

_CELL_SIDE: Final = 400
_MARGIN: Final = 12
_POINTS: Final = 17
_CAPTION_LINES: Final = 2
_PAPER, _INK = (24, 24, 26), (236, 236, 232)


def last_frame(file: Path | BinaryIO) -> bytes:
    """Return the last frame that a video shows, as a PNG of its full size.

    Raises:
        CorruptVideoError: It is no readable MP4 video.
    """
    with opened(file) as video:
        frame = _frame_at(video, None)
        return file_of(image_of(frame, frame.width, frame.height), "PNG")


def contact_sheet(shots: Sequence[tuple[Path, str]]) -> bytes:
    """Draw a JPEG with a picture from each shot's middle, and what it is called below.

    Args:
        shots: A clip on this machine, and its caption, for each; one at least.

    Raises:
        CorruptVideoError: One is no readable MP4 video.
    """
    cells = [_cell(path, caption) for path, caption in shots]
    columns = min(len(cells), 4 if len(cells) <= 16 else 8)
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    width = columns * (_CELL_SIDE + _MARGIN) + _MARGIN
    heights = [max(cell.height for cell in row) + _MARGIN for row in rows]
    sheet = Image.new("RGB", (width, sum(heights) + _MARGIN), _PAPER)
    top = _MARGIN
    for row, height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            sheet.paste(cell, (_MARGIN + column * (_CELL_SIDE + _MARGIN), top))
        top += height
    return file_of(sheet, "JPEG", quality=85)


def _cell(path: Path, caption: str) -> Image.Image:
    with opened(path) as video:
        frame = _frame_at(video, (video.seconds or 0.0) / 2)
        scale = _CELL_SIDE / max(frame.width, frame.height)
        picture = image_of(frame, round(frame.width * scale), round(frame.height * scale))
    font = ImageFont.load_default(_POINTS)
    lines = _wrapped(caption, font)
    line_height = round(_POINTS * 1.35)
    cell = Image.new("RGB", (_CELL_SIDE, picture.height + 6 + _CAPTION_LINES * line_height), _PAPER)
    cell.paste(picture, ((_CELL_SIDE - picture.width) // 2, 0))
    draw = ImageDraw.Draw(cell)
    for number, line in enumerate(lines):
        draw.text((0, picture.height + 6 + number * line_height), line, _INK, font)
    return cell


def _wrapped(caption: str, font: Any) -> list[str]:
    """The caption's words in as many lines as there is room for, the last cut short."""
    words = "".join(c if c.isprintable() else " " for c in caption).split()
    lines: list[str] = []
    while words and len(lines) < _CAPTION_LINES:
        count = len(words)
        while count > 1 and font.getlength(" ".join(words[:count])) > _CELL_SIDE:
            count -= 1
        lines.append(" ".join(words[:count]))
        words = words[count:]
    if words:
        lines[-1] += "…"
    while lines and font.getlength(lines[-1]) > _CELL_SIDE:
        lines[-1] = f"{lines[-1][:-2]}…"
    return lines


def _frame_at(video: OpenVideo, seconds: float | None) -> av.VideoFrame:
    """The frame that is on screen at a time; None: the last of all."""
    latest: av.VideoFrame | None = None
    until = float("inf") if seconds is None else seconds
    # From the keyframe before on; where an index lies about it, from the beginning.
    for start in (video.seconds if seconds is None else seconds, 0.0):
        base = video.stream.time_base
        if start is None or not base:
            continue
        origin = video.stream.start_time or 0
        video.container.seek(origin + int(start / base), stream=video.stream)
        for at, frame in video.frames():
            if at > until + 1e-6 and latest is not None:
                break
            latest = frame
        if latest is not None:
            return latest
    raise unreadable("it has no frames")
