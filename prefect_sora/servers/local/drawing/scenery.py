"""Scenery: a moving landscape whose palette, shapes and motion follow from the prompt."""

import math
from colorsys import hsv_to_rgb, rgb_to_hsv
from hashlib import sha256
from random import Random

from PIL import Image, ImageDraw, ImageFilter

from prefect_sora.servers.local.drawing.planes import Colour, Planes, colour

_Rgb = tuple[float, float, float]

FPS = 24

# Sky above, sky at the horizon, sun, ground.
_PALETTES = (
    (0x1F3B73, 0xFFB88A, 0xFFF1D6, 0x1B1A33),  # dawn
    (0x3E7CB8, 0xD6ECF7, 0xFFFDF0, 0x163A46),  # noon
    (0x3B1E5A, 0xFF7E67, 0xFFE3B8, 0x1E1030),  # dusk
    (0x0B1433, 0x3F6FA8, 0xE8F1FF, 0x050A1C),  # moonlight
    (0x0E4D58, 0xF2D7A6, 0xFFF8E3, 0x0B2A30),  # lagoon
    (0x5B2245, 0xF7A6B4, 0xFFF0EC, 0x2A0E24),  # rose
    (0x14342B, 0xBFD98B, 0xFDFBE0, 0x0C2019),  # forest
    (0x8A3B12, 0xFFCE73, 0xFFF6DA, 0x35140A),  # desert
    (0x241B52, 0x6FD6D0, 0xF1FFF9, 0x110C2C),  # aurora
    (0x2B2F77, 0xC9A7EB, 0xFFF3FB, 0x171A45),  # lilac
)


def dice(prompt: str) -> Random:
    """Random numbers that are always the same for the same prompt."""
    return Random(sha256(prompt.encode()).digest())  # noqa: S311 - scenery, not secrets


class Scenery:
    """A sky that drifts, clouds, and three ranges of hills, waves or roofs passing before it."""

    def __init__(
        self, prompt: str, width: int, height: int, seconds: int, more_seconds: int = 0
    ) -> None:
        """Lay out a scene.

        Args:
            prompt: What all of it follows from.
            width: In pixels, even.
            height: In pixels, even.
            seconds: How long it was planned to be: the layout depends on it.
            more_seconds: How much longer it goes on, in the same motion.
        """
        chance = dice(prompt)
        self.width, self.height = width, height
        self.direction = chance.choice((-1, 1))
        turn = chance.uniform(-0.035, 0.035)
        top, horizon, sun, ground = (_turned(tone, turn) for tone in chance.choice(_PALETTES))
        self.drift = min(0.015 * width, 0.2 * width / seconds)
        wide = (width + round(self.drift * seconds) + 3) & ~1
        more = (round(self.drift * more_seconds) + 3) & ~1 if more_seconds else 0
        left = more if self.direction < 0 else 0  # it grows on the side that it moves towards
        sky = _sky(chance, (wide, more, left), height, (top, horizon, sun))
        self.sky = Planes.of(sky)
        self.ranges = [_Range.clouds(chance, width, height, horizon)]
        shape = chance.choice((_hills, _hills, _waves, _roofs))
        for depth, (speed, rise, share) in enumerate(
            ((0.03, 0.46, 0.38), (0.065, 0.36, 0.64), (0.13, 0.24, 0.9))
        ):
            near = _mix(horizon, ground, share)
            far = _mix(horizon, near, 0.8)
            mask = shape(chance, _period(width), round(rise * height) & ~1, depth)
            top_y = height - mask.height
            self.ranges.append(_Range(mask, width, top_y, speed, (far, near)))

    def at(self, frame: int) -> Planes:
        """The picture at this frame."""
        seconds = frame / FPS
        room = self.sky.y.width - self.width
        shift = min(room, int(self.drift * seconds))
        picture = self.sky.part(shift if self.direction > 0 else room - shift, self.width)
        for item in self.ranges:
            item.draw(picture, self.direction * item.speed * self.width * seconds)
        return picture


class _Range:
    """A strip that repeats, cut out of a vertical gradient, passing at its own speed."""

    def __init__(
        self, mask: Image.Image, width: int, top: int, speed: float, tones: tuple[_Rgb, _Rgb]
    ) -> None:
        self.period, self.width, self.top, self.speed = mask.width, width, top & ~1, speed
        looped = Image.new("L", (mask.width + width, mask.height))
        looped.paste(mask, (0, 0))
        looped.paste(mask, (mask.width, 0))
        self.mask, self.half = looped, looped.reduce(2)
        upper, lower = colour(*tones[0]), colour(*tones[1])
        shade = Image.linear_gradient("L").resize((width, mask.height))
        self.luma = shade.point(
            [round(upper.y + (lower.y - upper.y) * i / 255) for i in range(256)]
        )
        self.tone: Colour = lower

    @classmethod
    def clouds(cls, chance: Random, width: int, height: int, tone: _Rgb) -> "_Range":
        """Soft bands in the upper sky."""
        period, tall = _period(width) // 4, max(4, round(height * 0.34) // 4)
        mask = Image.new("L", (period, tall))
        brush = ImageDraw.Draw(mask)
        for _ in range(9):
            x, y = chance.uniform(0, period), chance.uniform(0.2, 0.8) * tall
            wide, high = chance.uniform(0.05, 0.16) * period, chance.uniform(0.03, 0.08) * tall
            for copy in (x - period, x, x + period):
                brush.ellipse((copy - wide, y - high, copy + wide, y + high), fill=110)
        mask = mask.filter(ImageFilter.GaussianBlur(max(1.0, tall / 22)))
        mask = mask.resize((period * 4, tall * 4), Image.Resampling.BILINEAR)
        light = _mix(tone, (1.0, 1.0, 1.0), 0.55)
        return cls(mask, width, round(height * 0.06), 0.018, (light, light))

    def draw(self, picture: Planes, offset: float) -> None:
        """Paste the strip as it stands after moving `offset` pixels."""
        left = int(offset) % self.period
        cut = self.mask.crop((left, 0, left + self.width, self.mask.height))
        picture.y.paste(self.luma, (0, self.top), cut)
        left //= 2
        cut = self.half.crop((left, 0, left + self.width // 2, self.half.height))
        picture.u.paste(self.tone.u, (0, self.top // 2), cut)
        picture.v.paste(self.tone.v, (0, self.top // 2), cut)


def _sky(
    chance: Random, widths: tuple[int, int, int], height: int, tones: tuple[_Rgb, _Rgb, _Rgb]
) -> Image.Image:
    top, horizon, sun = tones
    width, more, left = widths
    column = Image.new("RGB", (1, height))
    for row in range(height):
        share = min(1.0, row / height * 1.35) ** 1.4
        column.putpixel((0, row), _bytes(_mix(top, horizon, share)))
    sky = column.resize((width + more, height))
    brush = ImageDraw.Draw(sky)
    unit = min(width, height)
    if max(top) < 0.4:
        for _ in range(90):
            x, y = left + chance.uniform(0, width), chance.uniform(0, height * 0.5)
            size = chance.uniform(0.0005, 0.002) * unit
            brush.ellipse(
                (x - size, y - size, x + size, y + size), fill=_bytes(_mix(top, sun, 0.7))
            )
    x, y = left + chance.uniform(0.25, 0.75) * width, chance.uniform(0.22, 0.48) * height
    for radius, strength in ((0.5 * unit, 0.55), (0.085 * unit, 1.0)):
        edge = max(2, round(radius * 2))
        glow = Image.radial_gradient("L").resize((edge, edge))
        if strength < 1:
            # Pillow's gradient reaches 255 in the corners, 179 at the nearest edge.
            fade = [max(0.0, 1 - i / 179) ** 2 * strength for i in range(256)]
            glow = glow.point([round(255 * share) for share in fade])
        else:
            disc = Image.new("L", (edge * 2, edge * 2))
            ImageDraw.Draw(disc).ellipse((0, 0, edge * 2 - 1, edge * 2 - 1), fill=255)
            glow = disc.reduce(2)
        sky.paste(_bytes(sun), (round(x - radius), round(y - radius)), glow)
    return sky


def _hills(chance: Random, period: int, height: int, depth: int) -> Image.Image:
    waves = [(k, chance.uniform(0.4, 1) / k, chance.random() * math.tau) for k in (2, 3, 5, 9)]
    return _outline(period, height, waves, sharp=1.0 + 0.25 * (2 - depth))


def _waves(chance: Random, period: int, height: int, depth: int) -> Image.Image:
    waves = [(k + depth, chance.uniform(0.3, 0.6), chance.random() * math.tau) for k in (6, 8, 11)]
    return _outline(period, height, [(3, 1.6, chance.random() * math.tau), *waves], sharp=1.5)


def _outline(
    period: int, height: int, waves: list[tuple[int, float, float]], sharp: float
) -> Image.Image:
    """A filled range under a sum of sines, drawn twice as large and reduced: smooth edges."""
    wide, high, step = period * 2, height * 2, max(2, period // 320)
    total = sum(size for _, size, _ in waves)
    line = []
    for x in range(0, wide + step, step):
        level = sum(size * math.sin(math.tau * k * x / wide + at) for k, size, at in waves)
        line.append((x, high * 0.85 * (1 - ((level / total + 1) / 2) ** sharp)))
    mask = Image.new("L", (wide, high))
    ImageDraw.Draw(mask).polygon([(0, high), *line, (wide + step, high)], fill=255)
    return mask.reduce(2)


def _roofs(chance: Random, period: int, height: int, depth: int) -> Image.Image:
    mask = Image.new("L", (period, height))
    brush = ImageDraw.Draw(mask)
    x = 0.0
    while x < period:
        wide = chance.uniform(0.014, 0.04) * period * (0.6 + 0.3 * depth)
        top = height * chance.uniform(0.05, 0.75)
        brush.rectangle((x, top, x + wide, height), fill=255)
        if chance.random() < 0.25:
            middle = x + wide / 2
            brush.line((middle, top, middle, top - height * 0.07), fill=255, width=1 + depth)
        x += wide
    return mask


def _period(width: int) -> int:
    return max(8, width * 2) & ~7


def _mix(first: _Rgb, second: _Rgb, share: float) -> _Rgb:
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return red, green, blue


def _turned(tone: int, turn: float) -> _Rgb:
    """A written colour, its hue turned by a share of the circle."""
    hue, saturation, value = rgb_to_hsv(*(part / 255 for part in tone.to_bytes(3, "big")))
    return hsv_to_rgb((hue + turn) % 1, saturation, value)


def _bytes(tone: _Rgb) -> tuple[int, int, int]:
    red, green, blue = (min(255, round(part * 255)) for part in tone)
    return red, green, blue
