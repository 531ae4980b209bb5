"""Sound: soft plucked notes of a scale that follows from the prompt."""

import math
import sys
from array import array
from functools import lru_cache
from random import Random

RATE = 48_000

_SCALE = (0, 2, 4, 7, 9, 12)
_FADE = 0.02
_BLOCK = 120  # samples of one loudness: 2.5 ms


@lru_cache(maxsize=32)
def _note(hertz: int) -> bytes:
    """One second: a note that fades, over the same note an octave below that stays."""
    # Whole tens of hertz repeat after a tenth of a second: a tenth of the sines.
    tenth = range(RATE // 10)
    high = [3600 * math.sin(math.tau * hertz * i / RATE) for i in tenth]
    low = [1300 * math.sin(math.tau * (hertz // 20 * 10) * i / RATE) for i in tenth]
    samples = array("h")
    for block in range(0, RATE, _BLOCK):
        at = block / RATE
        swell = min(1.0, at / _FADE, (1 - at) / _FADE)
        loud, i = swell * math.exp(-4 * at), block % len(tenth)
        pairs = zip(high[i : i + _BLOCK], low[i : i + _BLOCK], strict=True)
        samples.extend([int(loud * a + swell * b) for a, b in pairs])
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


def second(chance: Random) -> bytes:
    """The next second of the tune: mono, 16 bits little-endian."""
    root = 220
    return _note(round(root * 2 ** (chance.choice(_SCALE) / 12) / 20) * 20)
