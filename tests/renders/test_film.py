"""Films: kept clips become one film, whole or not at all, and the same clips the same film."""

import asyncio
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from prefect_sora.errors import InvalidRequestError, JoinError, NewerStoreError
from prefect_sora.handles import StoredVideo
from prefect_sora.renders.film import Cut, CutList, audio_of, keep_film, last_frame_of
from prefect_sora.renders.film import keep as films
from prefect_sora.requests.storyboard import Audio
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from tests.support.films import BLUE, GREEN, RED, Colour, clip, colours, hertz, near, sound


async def kept(
    store: VideoFolder, tmp_path: Path, number: int, colour: Colour, **how: Any
) -> StoredVideo:
    """A clip that is kept."""
    folder = f"shot-{number}-00000000000{number}"
    data = clip(tmp_path / f"source-{number}.mp4", colour, **how).read_bytes()
    url = await store.put(f"{folder}/video.mp4", data)
    return StoredVideo(
        key=f"00000000000{number}",
        folder=folder,
        video_id=f"video_{number}",
        provider="local",
        title=f"shot {number}",
        url=url,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        width=96,
        height=64,
        created_at=0.0,
    )


def cut(number: int, clip: StoredVideo, **fields: Any) -> Cut:
    known = clip.model_dump(include={"key", "video_id", "provider", "folder", "url", "sha256"})
    said = {"title": f"Shot {number}", "prompt": clip.title, "continuity": "cut"}
    return Cut(**{"number": number, "take": 1, "takes": 1, **said, **known, **fields})


async def three(store: VideoFolder, tmp_path: Path) -> list[Cut]:
    looks = enumerate((RED, GREEN, BLUE), start=1)
    clips = [await kept(store, tmp_path, n, colour, frames=8 + 2 * n) for n, colour in looks]
    return [cut(number, clip) for number, clip in enumerate(clips, start=1)]


async def test_clips_of_any_store_become_a_film_with_its_cut_list_and_contact_sheet(
    folder: VideoFolder, tmp_path: Path
) -> None:
    made = await keep_film("The red kite", await three(folder, tmp_path), folder, 1.2)

    film = made.film
    assert film.folder.startswith("films/the-red-kite-")
    assert sorted(await folder.names(film.folder)) == [
        "contact_sheet.jpg",
        "cut_list.json",
        "film.mp4",
    ]
    data = await folder.read(f"{film.folder}/film.mp4")
    assert data
    assert hashlib.sha256(data).hexdigest() == film.sha256
    path = tmp_path / "film.mp4"
    path.write_bytes(data)
    shown = colours(path)
    assert len(shown) == film.frames == 36
    assert [(c.first_frame, c.frames) for c in made.cuts] == [(0, 10), (10, 12), (22, 14)]
    assert [round(c.starts_at, 3) for c in made.cuts] == [0, 0.417, 0.917]
    assert made.cuts[-1].ends_at == film.duration_seconds == 1.5
    for c, colour in zip(made.cuts, (RED, GREEN, BLUE), strict=True):
        assert near(shown[c.first_frame + c.frames - 1], colour)
    assert (film.cost_usd, film.shots) == (1.2, 3)
    assert (film.copied_picture, film.copied_sound) == (True, True)
    assert len(film.model_dump_json()) < 1500
    sheet = Image.open(io.BytesIO(await folder.read(f"{film.folder}/contact_sheet.jpg") or b""))
    assert sheet.width == 3 * 412 + 12
    said = json.loads(await folder.read(f"{film.folder}/cut_list.json") or b"")
    assert said["film"]["url"] == f"{film.folder}/film.mp4"
    assert CutList.model_validate(said).placed(film.folder, folder.url) == made
    assert [c["sha256"] for c in said["cuts"]] == [c.sha256 for c in made.cuts]


async def test_the_same_clips_are_the_same_film_and_it_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = VideoFolder(str(tmp_path / "store"))
    cuts = await three(store, tmp_path)
    first = await keep_film("A film", cuts, store)
    monkeypatch.setattr(films, "join", None)
    assert await keep_film("A film", cuts, store) == first
    monkeypatch.undo()

    (tmp_path / "store" / first.film.folder / "film.mp4").unlink()
    again = await keep_film("A film", cuts, store)
    assert (again.film.sha256, again.film.folder) == (first.film.sha256, first.film.folder)
    assert "film.mp4" in await store.names(first.film.folder)
    other = await keep_film("A film", cuts[::-1], store)
    assert other.film.folder != first.film.folder
    torn = tmp_path / "store" / first.film.folder / "cut_list.json"
    torn.write_text('{"film": {')
    assert (await keep_film("A film", cuts, store)).film.sha256 == first.film.sha256


async def test_one_clip_may_be_shown_twice(tmp_path: Path) -> None:
    store = VideoFolder(str(tmp_path / "store"))
    one = await kept(store, tmp_path, 1, RED)
    made = await keep_film("Twice", [cut(1, one), cut(2, one)], store)
    assert made.film.frames == 24


async def test_a_film_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    store = VideoFolder(str(tmp_path / "store"))
    cuts = await three(store, tmp_path)
    made = await keep_film("A film", cuts, store)
    path = tmp_path / "store" / made.film.folder / "cut_list.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99}))
    with pytest.raises(NewerStoreError):
        await keep_film("A film", cuts, store)


async def test_clips_that_cannot_be_joined_leave_no_film(tmp_path: Path) -> None:
    store = VideoFolder(str(tmp_path / "store"))
    cuts = await three(store, tmp_path)
    await store.put(f"{cuts[1].folder}/video.mp4", b"no video")
    with pytest.raises(JoinError, match="Clip 2") as caught:
        await keep_film("A film", cuts, store)
    assert caught.value.paid == "yes"
    assert not (tmp_path / "store" / "films").exists()


async def test_cancelled_it_leaves_nothing_half_written(tmp_path: Path) -> None:
    store = VideoFolder(str(tmp_path / "store"))
    cuts = await three(store, tmp_path)
    making = asyncio.create_task(keep_film("A film", cuts, store))
    await asyncio.sleep(0)
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert not list((tmp_path / "store").rglob("film*.mp4*"))


async def test_the_last_frame_is_kept_once_and_never_made_anew(
    folder: VideoFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = await kept(folder, tmp_path, 1, BLUE)

    place = await last_frame_of(video, folder)

    assert place.endswith(f"{video.folder}/last_frame.png")
    data = await folder.read(f"{video.folder}/last_frame.png") or b""
    seen: Any = Image.open(io.BytesIO(data)).getpixel((48, 32))
    assert near(seen, BLUE)
    monkeypatch.setattr(films, "last_frame", None)
    assert await last_frame_of(video, folder) == place
    assert await folder.read(f"{video.folder}/last_frame.png") == data


async def test_a_sound_of_its_own_makes_another_film_which_is_found_again(
    folder: VideoFolder, tmp_path: Path
) -> None:
    cuts = await three(folder, tmp_path)
    own = await keep_film("The red kite", cuts, folder)
    music = clip(tmp_path / "music.mp4", RED, frames=48, sound=880.0)
    audio = Audio(source=str(music), fade_seconds=0.2)
    made = await keep_film("The red kite", cuts, folder, audio=audio)
    assert made.film.key != own.film.key
    assert (made.film.audio, own.film.audio) == (str(music), None)
    assert (made.film.copied_picture, made.film.copied_sound) == (True, False)
    film = tmp_path / "film.mp4"
    film.write_bytes(await folder.read(f"{made.film.folder}/film.mp4") or b"")
    assert hertz(sound(film)[2_000:20_000]) == pytest.approx(880, abs=5)
    assert await keep_film("The red kite", cuts, folder, audio=audio) == made
    longer = audio.model_copy(update={"fade_seconds": 0.3})
    assert (await keep_film("The red kite", cuts, folder, audio=longer)).film.key != made.film.key


async def test_audio_that_is_not_there_is_refused_by_name(disk: Ledger, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"audio .*music\.mp3 does not exist"):
        await audio_of(Audio(source=str(tmp_path / "music.mp3")), disk.store)
    assert await audio_of(None, disk.store) is None
