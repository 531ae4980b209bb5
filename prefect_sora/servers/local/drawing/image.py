"""Image: the prompt as a still picture, or a given picture changed by it."""

import io
import math
from colorsys import hsv_to_rgb
from random import Random

from PIL import Image, ImageChops, ImageDraw, ImageOps

from prefect_sora.servers.local.drawing.planes import Planes
from prefect_sora.servers.local.drawing.scenery import Scenery, dice
from prefect_sora.servers.local.drawing.text_panels import Panel, label_panel, prompt_panel
from prefect_sora.servers.local.state.images import ImageOrder

_PLAIN = {"white": (255, 255, 255), "black": (0, 0, 0)}
_SMOOTH = 2
"""The subject is drawn so many times larger and reduced, for smooth edges."""


def draw(order: ImageOrder, number: int) -> bytes:
    """One of the ordered pictures, as a file; always the same for the same order.

    Args:
        order: What to draw.
        number: Which of them, from 0: each is another.
    """
    chance = dice(f"{order.prompt} #{number}")
    picture = _edited(order, chance) if order.inputs else _drawn(order, chance, number)
    file = io.BytesIO()
    if order.format == "jpeg":
        picture.convert("RGB").save(file, "JPEG", quality=max(1, order.compression))
    elif order.format == "webp":
        picture.save(file, "WEBP", quality=order.compression, method=2)
    else:
        picture.save(file, "PNG", compress_level=3)
    return file.getvalue()


def _drawn(order: ImageOrder, chance: Random, number: int) -> Image.Image:
    """A subject before a landscape, a plain ground, or nothing; the prompt written below."""
    even = (order.size[0] + 1 & ~1, order.size[1] + 1 & ~1)
    if order.background == "transparent":
        picture = Image.new("RGBA", even, (0, 0, 0, 0))
    elif order.background in _PLAIN:
        picture = Image.new("RGB", even, _PLAIN[order.background])
    else:
        scenery = Scenery(f"{order.prompt} #{number}" if number else order.prompt, *even, 4)
        picture = scenery.at(0).small(max(even))
    subject = _subject(chance, even)
    picture.paste(subject, (0, 0), subject.getchannel("A"))
    solid = order.background == "transparent"
    opacity = 0.8 if order.background in _PLAIN else 0.45
    _write(picture, prompt_panel(order.prompt, even, "bottom", opacity), solid)
    label = label_panel(f"local renderer · {order.model}", even, "left")
    if label is not None and not solid:
        _write(picture, label, solid)
    return picture.crop((0, 0, *order.size)) if even != order.size else picture


def _subject(chance: Random, size: tuple[int, int]) -> Image.Image:
    """A rounded shape of two tones, opaque, on nothing."""
    width, height = (edge * _SMOOTH for edge in size)
    radius = min(width, height) * chance.uniform(0.24, 0.3)
    x, y = width * chance.uniform(0.42, 0.58), height * chance.uniform(0.36, 0.42)
    lobes, depth, lean = chance.choice((3, 4, 5, 6, 8)), chance.uniform(0.08, 0.3), chance.random()
    outline = []
    for step in range(360):
        angle = math.tau * step / 360
        reach = radius * (1 - depth + depth * math.cos(lobes * angle + lean * math.tau))
        outline.append((x + reach * math.cos(angle), y + reach * math.sin(angle)))
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).polygon(outline, fill=255)
    hue = chance.random()
    inner, outer = (
        _bytes(hsv_to_rgb(tone, 0.75, value))
        for tone, value in ((hue, 1.0), ((hue + chance.uniform(0.08, 0.2)) % 1, 0.7))
    )
    edge = max(2, round(radius * 2.6))
    light = Image.radial_gradient("L").resize((edge, edge))
    shape = Image.new("RGB", (width, height), outer)
    at = (round(x - edge * 0.6), round(y - edge * 0.62))  # lit from the upper left
    dark, bright = (Image.new("RGB", (edge, edge), tone) for tone in (outer, inner))
    shape.paste(Image.composite(dark, bright, light), at)
    shape.putalpha(mask)
    return shape.reduce(_SMOOTH)


def _edited(order: ImageOrder, chance: Random) -> Image.Image:
    """The first picture in other hues, framed and titled, the others along its right side."""
    given = [_open(data) for data in order.inputs]
    base = _fitted(given[0], order.size)
    changed = _changed(base, chance)
    unit = min(base.size)
    edge = max(8, round(unit * 0.18))
    for number, other in enumerate(given[1:]):
        small = ImageOps.fit(other.convert("RGB"), (edge, edge))
        left, top = order.size[0] - edge - unit // 20, unit // 5 + number * (edge + unit // 40)
        changed.paste(small, (left, top))
    tone = _bytes(hsv_to_rgb(chance.random(), 0.9, 1.0))
    band = max(1, unit // 40)
    ImageDraw.Draw(changed).rectangle(
        (0, 0, order.size[0] - 1, order.size[1] - 1), outline=tone, width=band
    )
    _write(changed, prompt_panel(f"edit: {order.prompt}", order.size, "top", 0.8), solid=False)
    if order.mask is not None:
        may_change = _fitted(_open(order.mask), order.size).getchannel("A").point(_INVERTED)
        changed = Image.composite(changed, base.convert("RGB"), may_change)
    cover = base.getchannel("A")
    see_through = cover.histogram()[255] < cover.width * cover.height
    if order.background == "transparent" and not see_through:
        cover = Image.new("L", order.size)  # nothing says what the subject is: its middle
        ImageDraw.Draw(cover).ellipse((0, 0, order.size[0] - 1, order.size[1] - 1), fill=255)
    if order.background == "transparent" or (
        order.background == "auto" and order.format != "jpeg" and see_through
    ):
        changed.putalpha(cover)
        return changed
    ground = _PLAIN.get(order.background, (255, 255, 255))
    return Image.composite(changed, Image.new("RGB", order.size, ground), cover)


_INVERTED = [255 - value for value in range(256)]


def _changed(base: Image.Image, chance: Random) -> Image.Image:
    """Every hue turned, and the light with it."""
    even = (base.width + 1 & ~1, base.height + 1 & ~1)
    turned = Planes.of(base.convert("RGB").resize(even)).turned(chance.uniform(60, 300))
    picture = turned.small(max(even)).crop((0, 0, *base.size))
    tint = Image.new("RGB", base.size, _bytes(hsv_to_rgb(chance.random(), 0.5, 1.0)))
    return ImageChops.blend(picture, ImageChops.multiply(picture, tint), 0.6)


def _bytes(tone: tuple[float, float, float]) -> tuple[int, int, int]:
    red, green, blue = (round(part * 255) for part in tone)
    return red, green, blue


def _open(data: bytes) -> Image.Image:
    return ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGBA")


def _fitted(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    return picture if picture.size == size else ImageOps.fit(picture, size)


def _write(picture: Image.Image, panel: Panel, solid: bool) -> None:
    """Lay a panel over a picture; a solid one lets nothing shine through."""
    ink = Image.merge("RGB", [panel.ink] * 3)
    cover = (
        panel.cover.point([255 if value else 0 for value in range(256)]) if solid else panel.cover
    )
    if picture.mode == "RGBA":
        ink.putalpha(255)
    picture.paste(ink, panel.at, cover)
