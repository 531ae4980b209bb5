"""Stitching: clips of one make are copied into a film, others are made alike; nothing is lost."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from prefect_sora.errors import CorruptVideoError, JoinError
from prefect_sora.media.join import Film, contact_sheet, join, last_frame
from prefect_sora.media.mp4 import Mp4Info, Mp4Scanner
from tests.support.films import (
    BLUE,
    GREEN,
    RED,
    Colour,
    clip,
    colours,
    hertz,
    loudness,
    near,
    sound,
    tone,
)


def scanned(path: Path) -> Mp4Info:
    scanner = Mp4Scanner()
    scanner.feed(path.read_bytes())
    return scanner.finish()


def joined(tmp_path: Path, clips: Sequence[Path], **how: Any) -> tuple[Film, Path]:
    """Join, and check what holds of every film."""
    path = tmp_path / "film.mp4"
    film = join(clips, path, **how)
    info, shown = scanned(path), colours(path)
    assert (info.width, info.height) == (film.width, film.height)
    assert len(shown) == sum(part.frames for part in film.parts)
    assert info.duration_seconds == pytest.approx(film.seconds, abs=0.03)
    for part, before in zip(film.parts[1:], film.parts, strict=False):
        assert part.starts_at == before.ends_at
        assert part.first_frame == before.first_frame + before.frames
    return film, path


def three(tmp_path: Path, **how: Any) -> list[Path]:
    looks = ((RED, 440.0), (GREEN, 660.0), (BLUE, 880.0))
    return [
        clip(tmp_path / f"{number}.mp4", colour, sound=tone, frames=10 + 2 * number, **how)
        for number, (colour, tone) in enumerate(looks)
    ]


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"options": {"bf": "3", "b_strategy": "0"}}, id="frames that are reordered"),
        pytest.param({"options": {"bf": "0"}}, id="frames in order"),
        pytest.param({"fps": 30, "rate": 44_100, "layout": "stereo"}, id="another rate"),
        pytest.param({"codec": "mpeg4"}, id="another codec"),
    ],
)
def test_clips_of_one_make_are_copied_frame_by_frame_with_their_sound(
    tmp_path: Path, how: dict[str, Any]
) -> None:
    clips = three(tmp_path, **how)
    film, path = joined(tmp_path, clips)

    assert (film.copied_picture, film.copied_sound) == (True, True)
    assert [part.frames for part in film.parts] == [10, 12, 14]
    assert colours(path) == [seen for each in clips for seen in colours(each)]
    heard, rate = sound(path), how.get("rate", 48_000)
    assert len(heard) / rate == pytest.approx(film.seconds, abs=0.03)
    for part, pitch in zip(film.parts, (440, 660, 880), strict=True):
        middle = heard[round((part.starts_at + 0.1) * rate) : round((part.ends_at - 0.05) * rate)]
        assert hertz(middle, rate) == pytest.approx(pitch, rel=0.01)


def test_fragments_are_copied_too(tmp_path: Path) -> None:
    clips = three(tmp_path, flags="frag_keyframe+empty_moov")
    film, path = joined(tmp_path, clips)

    assert film.copied_picture
    assert colours(path) == [seen for each in three(tmp_path) for seen in colours(each)]
    heard = sound(path)
    assert hertz(heard[6000:14_000]) == pytest.approx(440, rel=0.01)
    assert loudness(heard[-3500:-2000]) > 0.1, "a pause in it does not draw the rest forward"


def test_encoded_anew_they_show_the_same_pictures_at_the_same_times(tmp_path: Path) -> None:
    clips = three(tmp_path)
    film, path = joined(tmp_path, clips, encode=True)

    assert (film.copied_picture, film.copied_sound) == (False, False)
    shown = colours(path)
    wanted = [seen for each in clips for seen in colours(each)]
    assert [near(one, other) for one, other in zip(shown, wanted, strict=True)] == [True] * 36
    heard = sound(path)
    for part, pitch in zip(film.parts, (440, 660, 880), strict=True):
        middle = heard[round(part.starts_at * 48_000) + 2400 : round(part.ends_at * 48_000) - 1200]
        assert hertz(middle) == pytest.approx(pitch, rel=0.01)


def test_sound_and_picture_do_not_drift_apart_over_many_clips(tmp_path: Path) -> None:
    one = clip(tmp_path / "one.mp4", RED, frames=5, sound=440.0)
    other = clip(tmp_path / "other.mp4", BLUE, frames=5, sound=1200.0)
    film, path = joined(tmp_path, [one, other] * 20)

    assert film.copied_sound
    heard, step = sound(path), 5 / 24
    assert len(heard) == pytest.approx(film.seconds * 48_000, abs=1024)
    for number in (0, 1, 20, 21, 38, 39):
        begin = round((number * step + 0.04) * 48_000)
        pitch = hertz(heard[begin : begin + 7000])
        assert pitch == pytest.approx(1200 if number % 2 else 440, rel=0.03)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"size": (64, 96)}, id="another shape"),
        pytest.param({"fps": 30, "frames": 15}, id="a higher rate"),
        pytest.param({"fps": 10, "frames": 5}, id="a lower rate"),
        pytest.param({"options": {"profile": "baseline"}}, id="another profile"),
        pytest.param({"codec": "mpeg4"}, id="another codec"),
    ],
)
def test_a_clip_of_another_make_is_made_like_the_first(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    clips = [clip(tmp_path / "one.mp4", RED), clip(tmp_path / "two.mp4", BLUE, **other)]
    film, path = joined(tmp_path, clips)

    assert not film.copied_picture
    assert film.copied_sound
    assert (film.width, film.height, film.frames_per_second) == (96, 64, 24.0)
    assert [part.frames for part in film.parts] == [12, 12]
    shown = colours(path)
    assert near(shown[11], RED)
    assert near(shown[12], colours(clips[1])[0])
    assert near(shown[-1], BLUE)


def test_clips_that_end_between_two_frames_of_the_film_keep_their_length(tmp_path: Path) -> None:
    how: dict[str, Any] = {"fps": 25, "frames": 13}  # 12.48 frames of the film each
    others = [clip(tmp_path / f"{number}.mp4", BLUE, **how) for number in range(3)]
    film, _ = joined(tmp_path, [clip(tmp_path / "first.mp4", RED), *others])
    assert [part.frames for part in film.parts] == [12, 12, 13, 12]


def test_another_shape_stands_between_black_bars(tmp_path: Path) -> None:
    clips = [clip(tmp_path / "a.mp4", RED), clip(tmp_path / "b.mp4", BLUE, size=(32, 64))]
    _, path = joined(tmp_path, clips)

    picture = Image.open(io.BytesIO(last_frame(path)))
    assert near(_pixel(picture, 4, 32), (0, 0, 0))
    assert near(_pixel(picture, 48, 32), BLUE)
    assert near(_pixel(picture, 91, 32), (0, 0, 0))


def test_an_odd_side_is_made_even(tmp_path: Path) -> None:
    how: dict[str, Any] = {"codec": "mpeg4", "size": (47, 33)}
    clips = [clip(tmp_path / "a.mp4", RED, **how), clip(tmp_path / "b.mp4", BLUE)]
    film, path = joined(tmp_path, clips)
    assert (film.width, film.height) == (48, 34)
    assert near(colours(path)[0], colours(clips[0])[0])


@pytest.mark.parametrize(
    ("other", "heard_from"),
    [
        pytest.param({"sound": None}, None, id="no sound"),
        pytest.param({"sound_seconds": 0.2}, None, id="sound that ends early"),
        pytest.param({"rate": 44_100, "layout": "stereo"}, 440.0, id="another rate"),
    ],
)
def test_sound_that_differs_is_made_alike_and_pictures_are_still_copied(
    tmp_path: Path, other: dict[str, Any], heard_from: float | None
) -> None:
    clips = [
        clip(tmp_path / "a.mp4", RED),
        clip(tmp_path / "b.mp4", BLUE, **other),
        clip(tmp_path / "c.mp4", GREEN, sound=880.0),
    ]
    film, path = joined(tmp_path, clips)

    assert (film.copied_picture, film.copied_sound) == (True, False)
    assert colours(path) == [seen for each in clips for seen in colours(each)]
    heard = sound(path)
    assert len(heard) == pytest.approx(1.5 * 48_000, abs=1100)
    late_second, third = heard[36_000:46_000], heard[50_000:70_000]
    assert hertz(heard[2000:22_000]) == pytest.approx(440, rel=0.01)
    assert hertz(third) == pytest.approx(880, rel=0.01)
    if heard_from:
        assert hertz(late_second) == pytest.approx(heard_from, rel=0.01)
    else:
        assert loudness(late_second) < 0.01


def test_sound_begins_where_the_first_clip_has_none(tmp_path: Path) -> None:
    silent = clip(tmp_path / "a.mp4", RED, sound=None)
    film, path = joined(tmp_path, [silent, clip(tmp_path / "b.mp4", BLUE)])

    assert (film.copied_picture, film.copied_sound) == (True, False)
    heard = sound(path)
    assert loudness(heard[:22_000]) < 0.01
    assert hertz(heard[26_000:46_000]) == pytest.approx(440, rel=0.01)


def test_silent_clips_make_a_silent_film(tmp_path: Path) -> None:
    film, path = joined(tmp_path, three(tmp_path, sound_seconds=None)[:1])
    assert film.copied_sound is True
    silent = [clip(tmp_path / f"s{n}.mp4", RED, sound=None) for n in range(2)]
    film, path = joined(tmp_path, silent)
    assert (film.copied_picture, film.copied_sound) == (True, None)
    with av.open(str(path)) as container:
        assert not container.streams.audio


def test_a_clip_whose_beginning_was_cut_off_by_its_edit_list_is_encoded(tmp_path: Path) -> None:
    whole = clip(tmp_path / "whole.mp4", RED, options={"bf": "0"}, sound=None)
    cut = tmp_path / "cut.mp4"
    with av.open(str(whole)) as source, av.open(str(cut), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.pts is not None and packet.dts is not None:
                packet.pts -= 2048  # four pictures before the beginning
                packet.dts -= 2048
                packet.stream = stream
                target.mux(packet)
    assert len(colours_after(cut)) == 8

    film, path = joined(tmp_path, [cut, whole])

    assert not film.copied_picture
    assert [part.frames for part in film.parts] == [8, 12]
    assert near(colours(path)[0], colours(whole)[4])


def colours_after(path: Path) -> list[Colour]:
    with av.open(str(path)) as container:
        return [(0, 0, 0) for frame in container.decode(video=0) if (frame.pts or 0) >= 0]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        pytest.param(b"", "cannot be read", id="empty"),
        pytest.param(b"<html>no</html>" * 100, "cannot be read", id="a page"),
        pytest.param(None, "cannot be read", id="missing"),
    ],
)
def test_a_clip_that_cannot_be_joined_is_named_and_nothing_is_left(
    tmp_path: Path, bad: bytes | None, said: str
) -> None:
    good, broken = clip(tmp_path / "a.mp4", RED), tmp_path / "b.mp4"
    if bad is not None:
        broken.write_bytes(bad)
    with pytest.raises(JoinError, match=said) as caught:
        join([good, broken], tmp_path / "film.mp4")
    assert 'Clip 2 ("b.mp4")' in caught.value.message
    assert caught.value.next_step
    assert not (tmp_path / "film.mp4").exists()


def test_sound_without_a_picture_is_no_clip(tmp_path: Path) -> None:
    path = tmp_path / "tone.mp4"
    with av.open(str(path), "w") as container:
        audio: Any = container.add_stream("aac", rate=48_000, layout="mono")
        for packet in tone(audio, 440, 0.2):
            container.mux(packet)
    with pytest.raises(JoinError, match="no video stream"):
        join([path], tmp_path / "film.mp4")


@pytest.mark.parametrize("intact", [0.0, 0.5], ids=["from the start", "in the middle"])
def test_a_damaged_clip_is_named_when_it_has_to_be_decoded(tmp_path: Path, intact: float) -> None:
    good, damaged = clip(tmp_path / "a.mp4", RED, size=(64, 64)), tmp_path / "b.mp4"
    data = bytearray(clip(damaged, BLUE, sound=None, options={"g": "1"}).read_bytes())
    media = data.index(b"mdat") + 4
    media += round((len(data) - media) * intact)
    data[media:] = bytes(len(data) - media)
    damaged.write_bytes(data)
    with pytest.raises(JoinError, match=r'Clip 2 \("b.mp4"\)'):
        join([good, damaged], tmp_path / "film.mp4")
    assert not (tmp_path / "film.mp4").exists()


def test_packets_that_would_cross_are_encoded_in_place_of_copied(tmp_path: Path) -> None:
    first = clip(tmp_path / "a.mp4", RED, options={"bf": "0"}, sound=None)
    ahead = tmp_path / "b.mp4"
    with av.open(str(first)) as source, av.open(str(ahead), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.dts -= 2048  # decoded four pictures before it is shown
                packet.stream = stream
                target.mux(packet)
    film, _ = joined(tmp_path, [first, ahead])

    assert not film.copied_picture
    assert [part.frames for part in film.parts] == [12, 12]


@pytest.mark.parametrize("short", [0, 400, 1000], ids="{} samples too few".format)
def test_a_sound_is_heard_when_its_picture_is_seen(tmp_path: Path, short: int) -> None:
    how: dict[str, Any] = {"frames": 12, "sound_seconds": 0.5 - short / 48_000}
    clips = [clip(tmp_path / f"{number}.mp4", RED, sound=0.0, **how) for number in range(8)]
    clips[5] = clip(tmp_path / "loud.mp4", RED, sound=440.0, **how)
    for how in ({}, {"encode": True}):
        film, path = joined(tmp_path, clips, **how)
        heard, begins = sound(path), round(film.parts[5].starts_at * 48_000)
        onset = next(index for index, sample in enumerate(heard) if abs(sample) > 0.15)
        assert abs(onset - begins) < 0.012 * 48_000


def test_no_clips_make_no_film(tmp_path: Path) -> None:
    with pytest.raises(JoinError, match="no clip"):
        join([], tmp_path / "film.mp4")


@pytest.mark.parametrize("options", [{"bf": "3"}, {"g": "5"}, {"bf": "0", "g": "250"}])
def test_the_last_frame_is_the_very_last_one_in_its_own_size_and_colour(
    tmp_path: Path, options: dict[str, str]
) -> None:
    path = clip(tmp_path / "a.mp4", BLUE, frames=31, options=options)
    data = last_frame(path)

    picture = Image.open(io.BytesIO(data))
    assert (picture.format, picture.size, picture.mode) == ("PNG", (96, 64), "RGB")
    assert near(_pixel(picture, 48, 32), BLUE)
    assert last_frame(path) == data, "so that whoever starts from it is recognised again"
    with path.open("rb") as file:
        assert last_frame(file) == data


def test_what_is_no_video_has_no_last_frame(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no")
    with pytest.raises(CorruptVideoError):
        last_frame(tmp_path / "a.mp4")


def test_a_contact_sheet_shows_each_shots_middle_above_its_name(tmp_path: Path) -> None:
    clips = three(tmp_path)
    names = ["1 · red", "2 · " + "green and a very long name " * 9, "3 · \x00blue"]
    sheet = Image.open(io.BytesIO(contact_sheet(list(zip(clips, names, strict=True)))))

    assert sheet.format == "JPEG"
    assert sheet.size[0] == 3 * 412 + 12
    middle = [(12 + 412 * column + 200, 12 + 130) for column in range(3)]
    for at, path in zip(middle, clips, strict=True):
        shown = colours(path)
        assert near(_pixel(sheet, *at), shown[len(shown) // 2], by=12)


def _pixel(picture: Image.Image, x: int, y: int) -> Colour:
    seen: Any = picture.getpixel((x, y))
    return (seen[0], seen[1], seen[2])
