"""Text panels: lines of text on a dark ground, drawn once and laid over every frame."""

from functools import lru_cache
from itertools import accumulate, takewhile
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

from prefect_sora.servers.local.drawing.planes import BLACK, NEUTRAL, WHITE, Planes

_CONSIDERED = 900  # characters of a prompt: more never fits
_SMALLEST = 8

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@lru_cache(maxsize=64)
def font(size: int) -> Font:
    """Pillow's own font."""
    return ImageFont.load_default(size=size)


class Panel:
    """Text on a dark, translucent ground, at a place of its own."""

    def __init__(self, ink: Image.Image, cover: Image.Image, at: tuple[int, int]) -> None:
        self.ink, self.cover, self.at = ink, cover, (at[0] & ~1, at[1] & ~1)
        self.half = cover.reduce(2)

    def moved(self, at: tuple[int, int]) -> "Panel":
        """The same panel elsewhere."""
        return Panel(self.ink, self.cover, at)

    def lay(self, picture: Planes, strength: float = 1.0) -> None:
        """Draw it over a picture, faintly where `strength` is below 1."""
        cover, half = self.cover, self.half
        if strength < 1:
            fade = [round(i * strength) for i in range(256)]
            cover, half = cover.point(fade), half.point(fade)
        x, y = self.at
        picture.y.paste(self.ink, (x, y), cover)
        picture.u.paste(NEUTRAL, (x // 2, y // 2), half)
        picture.v.paste(NEUTRAL, (x // 2, y // 2), half)


def prompt_panel(
    prompt: str, size: tuple[int, int], place: Literal["top", "bottom"], opacity: float = 0.45
) -> Panel:
    """The prompt, as large as fits into 40 % of the picture's height, else cut short."""
    width, height = size
    unit = min(width, height)
    margin, padding = round(unit * 0.04), max(2, round(unit * 0.025))
    room = width - 2 * (margin + padding)
    tall = round(height * (0.4 if place == "bottom" else 0.3)) - 2 * padding
    text = " ".join("".join(c if c.isprintable() else " " for c in prompt[:_CONSIDERED]).split())
    points = max(_SMALLEST, round(unit * 0.075))
    while True:
        lines = _wrap(text, font(points), room)
        line_height = round(points * 1.28)
        if len(lines) * line_height <= tall or points <= _SMALLEST:
            break
        points = max(_SMALLEST, round(points * 0.8))
    fitting = max(1, tall // line_height)
    if len(lines) > fitting or len(prompt) > _CONSIDERED:
        lines = lines[:fitting]
        lines[-1] = lines[-1].rstrip(" .,…")[: max(1, len(lines[-1]) - 2)] + "…"
    high = len(lines) * line_height + 2 * padding
    wide = min(room, round(max(font(points).getlength(line) for line in lines))) + 2 * padding
    top = height - margin - high if place == "bottom" else margin + round(unit * 0.075)
    return _panel(lines, font(points), line_height, padding, (wide, high), (margin, top), opacity)


def label_panel(text: str, size: tuple[int, int], side: Literal["left", "right"]) -> Panel | None:
    """A small line in an upper corner, or None where the picture is too small for it."""
    unit = min(size)
    points = round(unit * 0.033)
    if points < _SMALLEST:
        return None
    padding, margin = max(2, points // 2), round(unit * 0.04)
    wide = round(font(points).getlength(text)) + 2 * padding
    high = round(points * 1.3) + padding
    left = margin if side == "left" else size[0] - margin - wide
    if wide > size[0] * 0.55:
        return None
    return _panel([text], font(points), 0, padding, (wide, high), (left, margin), 0.4)


def _panel(
    lines: list[str],
    face: Font,
    line_height: int,
    padding: int,
    size: tuple[int, int],
    at: tuple[int, int],
    opacity: float,
) -> Panel:
    even = (size[0] + size[0] % 2, size[1] + size[1] % 2)
    ink, cover = Image.new("L", even, BLACK), Image.new("L", even)
    ground = ImageDraw.Draw(cover)
    ground.rounded_rectangle((0, 0, even[0] - 1, even[1] - 1), padding, fill=round(255 * opacity))
    for number, line in enumerate(lines):
        where = (padding, (padding if line_height else padding // 2) + number * line_height)
        ground.text(where, line, fill=255, font=face)
        ImageDraw.Draw(ink).text(where, line, fill=WHITE, font=face)
    return Panel(ink, cover, at)


def _wrap(text: str, face: Font, room: int) -> list[str]:
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if face.getlength(joined) <= room:
            line = joined
            continue
        if line:
            lines.append(line)
        while len(word) > 1 and face.getlength(word) > room:  # longer than a line by itself
            ends = accumulate(face.getlength(letter) for letter in word)
            fits = max(1, sum(1 for _ in takewhile(lambda end: end <= room, ends)))
            lines.append(word[:fits])
            word = word[fits:]
        line = word
    return [*lines, line]
