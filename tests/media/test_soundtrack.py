"""Soundtrack: a film's own sound is as long as the film, fades at its end, and costs no picture."""

from pathlib import Path

import av
import pytest

from prefect_sora.errors import JoinError
from prefect_sora.media.join import join, lay_sound
from tests.support.films import GREEN, RED, clip, colours, hertz, loudness, sound

RATE = 48_000


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Two seconds under two tones."""
    clips = [clip(tmp_path / f"{n}.mp4", c, frames=24) for n, c in ((1, RED), (2, GREEN))]
    join(clips, tmp_path / "joined.mp4")
    return tmp_path / "joined.mp4"


def audio(folder: Path, seconds: float, tone: float = 880.0) -> Path:
    """A tone of its own, in the sound of a clip, at another rate."""
    frames = max(round(seconds * 24), 1)
    return clip(folder / "tone.mp4", RED, frames=frames, sound=tone, rate=44_100)


def length(path: Path) -> float:
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        assert stream.duration is not None
        assert stream.time_base is not None
        return float(stream.duration * stream.time_base)


def test_what_is_longer_is_cut_and_fades_while_the_pictures_stay(
    film: Path, tmp_path: Path
) -> None:
    lay_sound(film, audio(tmp_path, 4), tmp_path / "film.mp4")
    heard = sound(tmp_path / "film.mp4")
    assert colours(tmp_path / "film.mp4") == colours(film)
    assert length(tmp_path / "film.mp4") == pytest.approx(2.0, abs=0.03)
    assert hertz(heard[RATE // 2 : RATE]) == pytest.approx(880, abs=3)
    full, half, end = (loudness(heard[at : at + 2000]) for at in (RATE // 2, 3 * RATE // 2, 94_000))
    assert half == pytest.approx(full / 2, rel=0.15)
    assert end < full / 10


def test_what_is_shorter_is_followed_by_silence_or_begins_again(film: Path, tmp_path: Path) -> None:
    short = audio(tmp_path, 0.5)
    lay_sound(film, short, tmp_path / "silent.mp4", fade_seconds=0)
    heard = sound(tmp_path / "silent.mp4")
    assert loudness(heard[4_000:20_000]) > 0.2
    assert loudness(heard[30_000:90_000]) < 0.01

    lay_sound(film, short, tmp_path / "again.mp4", fade_seconds=0, repeat=True)
    heard = sound(tmp_path / "again.mp4")
    assert all(loudness(heard[at : at + 10_000]) > 0.2 for at in range(4_000, 80_000, 10_000))
    assert length(tmp_path / "again.mp4") == pytest.approx(2.0, abs=0.03)


def test_a_film_without_sound_gets_one(tmp_path: Path) -> None:
    silent = clip(tmp_path / "silent.mp4", RED, frames=24, sound=None)
    lay_sound(silent, audio(tmp_path, 1), tmp_path / "film.mp4", fade_seconds=0)
    assert loudness(sound(tmp_path / "film.mp4")[4_000:40_000]) > 0.2


@pytest.mark.parametrize("what", ["no sound", "no film at all"])
def test_what_cannot_be_heard_is_refused_and_leaves_no_film(
    film: Path, tmp_path: Path, what: str
) -> None:
    bad = clip(tmp_path / "bad.mp4", RED, sound=None)
    if what == "no film at all":
        bad.write_text("a kite")
    with pytest.raises(JoinError, match="The film's audio cannot be used"):
        lay_sound(film, bad, tmp_path / "film.mp4")
    assert not (tmp_path / "film.mp4").exists()
