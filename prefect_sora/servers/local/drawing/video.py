"""Video: draw a job's video, thumbnail and spritesheet, frame by frame."""

import math
from collections.abc import Callable, Iterator, Sequence
from colorsys import hsv_to_rgb
from itertools import count
from pathlib import Path

from PIL import Image

from prefect_sora.servers.local.drawing.decoding import frames_of, sound_of, still
from prefect_sora.servers.local.drawing.encoding import Mp4Writer
from prefect_sora.servers.local.drawing.overlays import Lettering, framed, portraits
from prefect_sora.servers.local.drawing.planes import Planes, colour
from prefect_sora.servers.local.drawing.scenery import FPS, Scenery, dice
from prefect_sora.servers.local.drawing.sound import second
from prefect_sora.servers.local.drawing.text_panels import prompt_panel
from prefect_sora.servers.local.state.jobs import FILES, Job

_TILES, _COLUMNS, _TILE_EDGE, _THUMBNAIL_EDGE = 16, 4, 240, 640
_ZOOM_PER_SECOND, _ZOOM_LIMIT = 0.02, 0.3
_JOINT_FRAMES = 8
"""How long the old lettering takes to give way to the new, after the joint of an extension."""

Characters = Sequence[tuple[str, Path]]


def render(
    job: Job,
    source: Path | None,
    folder: Path,
    advance: Callable[[float], None],
    characters: Characters = (),
) -> None:
    """Write the three files of a job into `folder`.

    Args:
        job: What to draw.
        source: Its reference image, or the video that it starts from.
        folder: Where the files go.
        advance: Called with the share that is done before each frame; it may raise to stop.
        characters: Name and picture of each that appears.
    """
    width, height = (int(edge) for edge in job.size.split("x"))
    total = job.seconds * FPS
    tiles: list[Image.Image] = []
    shown = {i * total // _TILES for i in range(_TILES)}
    sound = _sound(job, source)
    with Mp4Writer(folder / FILES["video"], width, height) as writer:
        pictures = _pictures(job, source, (width, height), total, characters)
        for number, picture in enumerate(pictures):
            advance(number / total)
            if number % FPS == 0:
                writer.add_sound(next(sound))
            writer.add_frame(picture)
            if number in shown:
                tiles.append(picture.small(_TILE_EDGE))
            if number == total // 3:
                thumbnail = picture.small(_THUMBNAIL_EDGE)
    thumbnail.save(folder / FILES["thumbnail"], "WEBP", quality=80, method=2)
    _sheet(tiles).save(folder / FILES["spritesheet"], "JPEG", quality=82)


def _sound(job: Job, source: Path | None) -> Iterator[bytes]:
    """A new tune; an edit keeps its source's sound, an extension goes on after it."""
    if source is not None and job.verb in ("edit", "extend"):
        yield from sound_of(source, job.seconds - job.added)
    tune = dice("tune " + job.prompt)
    while True:
        yield second(tune)


def _pictures(
    job: Job, source: Path | None, size: tuple[int, int], total: int, characters: Characters
) -> Iterator[Planes]:
    if job.source == "video" and source is not None:
        if job.verb == "extend":
            return _extended(job, source, size, total, characters)
        return _recoloured(frames_of(source, total), job.verb, job.prompt, size, titled=True)
    pictures = _moved(job, source, size, total) if source is not None else _drawn(job, size, total)
    return _with_characters(pictures, characters, size)


def _drawn(job: Job, size: tuple[int, int], total: int) -> Iterator[Planes]:
    """The prompt over a landscape."""
    scenery = Scenery(job.prompt, *size, job.seconds)
    lettering = Lettering(job, size, total)
    for number in range(total):
        picture = scenery.at(number)
        lettering.lay(picture, number)
        yield picture


def _moved(job: Job, source: Path, size: tuple[int, int], total: int) -> Iterator[Planes]:
    """The reference itself, then slowly closer to a point of it, the text fading in."""
    reference = still(source)
    lettering = Lettering(job, size, total)
    for number in range(total):
        zoom = min(_ZOOM_LIMIT, number / FPS * _ZOOM_PER_SECOND)
        picture = _closer(reference, 1 - zoom, job.prompt)
        lettering.lay(picture, number, min(1.0, number / (FPS / 2)))
        yield picture


def _with_characters(
    pictures: Iterator[Planes], characters: Characters, size: tuple[int, int]
) -> Iterator[Planes]:
    """The same pictures with the characters in them."""
    cast = portraits(characters, size)
    for picture in pictures:
        for portrait in cast:
            portrait.lay(picture)
        yield picture


def _extended(
    job: Job, source: Path, size: tuple[int, int], total: int, characters: Characters
) -> Iterator[Planes]:
    """The source, frame by frame, and then what comes after it."""
    before = total - job.added * FPS
    last: Planes | None = None
    for last in frames_of(source, before):
        yield last
    assert last is not None  # noqa: S101 - a source has a second at least
    drawn = job.scene is not None and job.scene["kind"] == "drawn"
    onward = _onward(job, last, size, before)
    lettering = Lettering(job, size, total, bare=not drawn)
    cast = portraits(characters, size)
    for number in range(before, total):
        picture = next(onward)
        lettering.lay(picture, number)
        for portrait in cast:
            portrait.lay(picture)
        joint = (number - before + 1) / (_JOINT_FRAMES + 1)
        yield last.blended(picture, joint) if joint < 1 else picture


def _onward(job: Job, last: Planes, size: tuple[int, int], before: int) -> Iterator[Planes]:
    """The motion of the source, past its last frame.

    A landscape that was drawn here is drawn further, recoloured as its remixes and edits were. Any
    other picture comes closer, at the same pace as a reference image does.
    """
    scene = job.scene or {"kind": "held", "prompt": job.prompt}
    if scene["kind"] == "drawn":
        seconds = scene["seconds"]
        scenery = Scenery(scene["prompt"], *size, seconds, job.seconds - seconds)
        pictures: Iterator[Planes] = (scenery.at(number) for number in count(before))
        for verb, prompt in scene["looks"]:
            pictures = _recoloured(pictures, verb, prompt, size, titled=False)
        yield from pictures
    pace = _ZOOM_PER_SECOND / (1 - min(_ZOOM_LIMIT, before / FPS * _ZOOM_PER_SECOND))
    for number in count(1):
        yield _closer(last, math.exp(-pace * number / FPS), scene["prompt"])


def _recoloured(
    pictures: Iterator[Planes], verb: str, prompt: str, size: tuple[int, int], *, titled: bool
) -> Iterator[Planes]:
    """The pictures in other colours, which follow from the prompt.

    Args:
        pictures: What they were; their own text stays.
        verb: `remix` turns every hue; `edit` regrades towards one hue and draws a border.
        prompt: What was asked for.
        size: Of the pictures, in pixels.
        titled: Whether what was asked for stands above.
    """
    chance = dice(prompt)
    turn, hue = chance.uniform(50, 310), chance.random()
    tint, border = colour(*hsv_to_rgb(hue, 0.75, 0.6)), colour(*hsv_to_rgb(hue, 0.9, 1.0))
    panel = prompt_panel(f"{verb}: {prompt}", size, "top", opacity=0.8)
    for before in pictures:
        if verb == "edit":
            picture = before.graded(tint, 0.7)
            framed(picture, border)
        else:
            picture = before.turned(turn)
        if titled:
            panel.lay(picture)
        yield picture


def _closer(picture: Planes, share: float, prompt: str) -> Planes:
    """A part of the picture, enlarged; the prompt chooses the point that stays in its place."""
    width, height = picture.size
    chance = dice(prompt)
    wide, high = width * share, height * share
    left, top = (width - wide) * chance.random(), (height - high) * chance.random()
    return picture.zoomed((left, top, left + wide, top + high))


def _sheet(tiles: list[Image.Image]) -> Image.Image:
    width, height = tiles[0].size
    rows = -(-len(tiles) // _COLUMNS)
    sheet = Image.new("RGB", (width * min(_COLUMNS, len(tiles)), height * rows))
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number % _COLUMNS * width, number // _COLUMNS * height))
    return sheet
