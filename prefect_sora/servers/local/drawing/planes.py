"""Planes: frames are drawn in the encoder's own form, so that none is converted.

Luma at full size, the two chroma planes at half, in the limited range of ITU-R BT.601. Each is a
Pillow image of bytes: crops and pastes on them are plain copies of memory.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from PIL import Image, ImageChops

NEUTRAL = 128
BLACK, WHITE = 16, 235

_ALL = range(256)
_LUMA = [round(16 + value * 219 / 255) for value in range(256)]
_CHROMA = [round(128 + (value - 128) * 224 / 255) for value in range(256)]
_FULL_LUMA = [min(255, max(0, round((value - 16) * 255 / 219))) for value in range(256)]
_FULL_CHROMA = [min(255, max(0, round(128 + (value - 128) * 255 / 224))) for value in range(256)]


class Colour(NamedTuple):
    """One colour in the planes' own terms."""

    y: int
    u: int
    v: int


@dataclass
class Planes:
    """A picture of even width and height."""

    y: Image.Image
    u: Image.Image
    v: Image.Image

    @classmethod
    def of(cls, picture: Image.Image) -> "Planes":
        """Convert an RGB picture."""
        y, u, v = picture.convert("RGB").convert("YCbCr").split()
        return cls(y.point(_LUMA), u.reduce(2).point(_CHROMA), v.reduce(2).point(_CHROMA))

    @classmethod
    def of_frame(cls, frame: Any) -> "Planes":
        """Take over a decoded yuv420p frame."""
        y, u, v = (
            Image.frombytes(
                "L", (plane.width, plane.height), bytes(plane), "raw", "L", plane.line_size, 1
            )
            for plane in frame.planes
        )
        return cls(y, u, v)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.y.size

    def part(self, left: int, width: int) -> "Planes":
        """A copy of `width` columns from `left` on, in full height."""
        height, right, half = self.y.height, left + width, left // 2
        return Planes(
            self.y.crop((left, 0, right, height)),
            self.u.crop((half, 0, half + width // 2, height // 2)),
            self.v.crop((half, 0, half + width // 2, height // 2)),
        )

    def zoomed(self, box: tuple[float, float, float, float]) -> "Planes":
        """The inside of `box`, enlarged to the full size."""
        half = (box[0] / 2, box[1] / 2, box[2] / 2, box[3] / 2)
        kind = Image.Resampling.BILINEAR
        return Planes(
            self.y.resize(self.y.size, kind, box),
            self.u.resize(self.u.size, kind, half),
            self.v.resize(self.v.size, kind, half),
        )

    def turned(self, degrees: float) -> "Planes":
        """The same picture with every hue turned; greys stay grey."""
        cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        return Planes(
            self.y,
            ImageChops.add(self._scaled(self.u, cosine), self._scaled(self.v, -sine), 1, -NEUTRAL),
            ImageChops.add(self._scaled(self.u, sine), self._scaled(self.v, cosine), 1, -NEUTRAL),
        )

    def graded(self, tint: Colour, share: float) -> "Planes":
        """The same picture with more contrast, its hues drawn towards one by a share."""

        def towards(plane: Image.Image, hue: int) -> Image.Image:
            return plane.point([round(i + (hue - i) * share) for i in range(256)])

        # A soft S: steepest in the middle, unchanged at black, at white and between.
        curve = [
            i + 22 * math.sin((i - BLACK) / (WHITE - BLACK) * math.tau + math.pi) for i in _ALL
        ]
        luma = [min(WHITE, max(BLACK, round(value))) for value in curve]
        return Planes(self.y.point(luma), towards(self.u, tint.u), towards(self.v, tint.v))

    def blended(self, other: "Planes", share: float) -> "Planes":
        """A mixture with another picture of the same size."""
        return Planes(
            Image.blend(self.y, other.y, share),
            Image.blend(self.u, other.u, share),
            Image.blend(self.v, other.v, share),
        )

    def lay(self, other: "Planes", at: tuple[int, int]) -> None:
        """Paste a smaller picture over this one, at an even place."""
        x, y = at[0] & ~1, at[1] & ~1
        self.y.paste(other.y, (x, y))
        self.u.paste(other.u, (x // 2, y // 2))
        self.v.paste(other.v, (x // 2, y // 2))

    @staticmethod
    def _scaled(plane: Image.Image, factor: float) -> Image.Image:
        return plane.point([round(NEUTRAL + (i - NEUTRAL) * factor) & 255 for i in range(256)])

    def small(self, edge: int) -> Image.Image:
        """An RGB copy, at most `edge` pixels wide and high."""
        scale = min(1.0, edge / max(self.size))
        size = (max(1, round(self.y.width * scale)), max(1, round(self.y.height * scale)))
        planes = [
            self.y.resize(size, Image.Resampling.BOX).point(_FULL_LUMA),
            self.u.resize(size, Image.Resampling.BILINEAR).point(_FULL_CHROMA),
            self.v.resize(size, Image.Resampling.BILINEAR).point(_FULL_CHROMA),
        ]
        return Image.merge("YCbCr", planes).convert("RGB")


def colour(red: float, green: float, blue: float) -> Colour:
    """An RGB colour, each part from 0 to 1."""
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return Colour(
        round(16 + 219 * luma),
        round(NEUTRAL + 224 * (blue - luma) / 1.772),
        round(NEUTRAL + 224 * (red - luma) / 1.402),
    )
