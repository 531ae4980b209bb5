"""Renderer: a job to its video, thumbnail and spritesheet, frame by frame."""

from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image

from prefect_sora.local.encoding import Mp4Writer, frames_of, still
from prefect_sora.local.jobs import FILES, Job
from prefect_sora.local.lettering import label_panel, prompt_panel
from prefect_sora.local.planes import Planes
from prefect_sora.local.scenery import FPS, Scenery, dice
from prefect_sora.local.sound import second

_TILES, _COLUMNS, _TILE_EDGE, _THUMBNAIL_EDGE = 16, 4, 240, 640
_ZOOM_PER_SECOND, _ZOOM_LIMIT = 0.02, 0.3


def render(job: Job, source: Path | None, folder: Path, advance: Callable[[float], None]) -> None:
    """Write the three files of a job into `folder`.

    Args:
        job: What to draw.
        source: Its reference image, or its parent's video.
        folder: Where the files go.
        advance: Called with the share that is done before each frame; it may raise to stop.
    """
    width, height = (int(edge) for edge in job.size.split("x"))
    total = job.seconds * FPS
    tiles: list[Image.Image] = []
    shown = {i * total // _TILES for i in range(_TILES)}
    tune = dice("tune " + job.prompt)
    with Mp4Writer(folder / FILES["video"], width, height) as writer:
        for number, picture in enumerate(_pictures(job, source, (width, height), total)):
            advance(number / total)
            if number % FPS == 0:
                writer.add_sound(second(tune))
            writer.add_frame(picture)
            if number in shown:
                tiles.append(picture.small(_TILE_EDGE))
            if number == total // 3:
                thumbnail = picture.small(_THUMBNAIL_EDGE)
    thumbnail.save(folder / FILES["thumbnail"], "WEBP", quality=80, method=2)
    _sheet(tiles).save(folder / FILES["spritesheet"], "JPEG", quality=82)


def _pictures(job: Job, source: Path | None, size: tuple[int, int], total: int) -> Iterator[Planes]:
    if job.source == "video" and source is not None:
        return _recoloured(job, source, size, total)
    if job.source == "image" and source is not None:
        return _moved(job, source, size, total)
    return _drawn(job, size, total)


def _drawn(job: Job, size: tuple[int, int], total: int) -> Iterator[Planes]:
    """The prompt over a landscape."""
    scenery = Scenery(job.prompt, *size, job.seconds)
    lettering = _Lettering(job, size, total)
    for number in range(total):
        picture = scenery.at(number)
        lettering.lay(picture, number)
        yield picture


def _moved(job: Job, source: Path, size: tuple[int, int], total: int) -> Iterator[Planes]:
    """The reference itself, then slowly closer to a point of it, the text fading in."""
    reference = still(source)
    width, height = size
    chance = dice(job.prompt)
    aim_x, aim_y = chance.random(), chance.random()
    lettering = _Lettering(job, size, total)
    for number in range(total):
        zoom = min(_ZOOM_LIMIT, number / FPS * _ZOOM_PER_SECOND)
        wide, high = width * (1 - zoom), height * (1 - zoom)
        left, top = (width - wide) * aim_x, (height - high) * aim_y
        picture = reference.zoomed((left, top, left + wide, top + high))
        lettering.lay(picture, number, min(1.0, number / (FPS / 2)))
        yield picture


def _recoloured(job: Job, source: Path, size: tuple[int, int], total: int) -> Iterator[Planes]:
    """The parent frame by frame in other hues; its own text stays, ours stands above."""
    turn = dice(job.prompt).uniform(50, 310)
    panel = prompt_panel(f"remix: {job.prompt}", size, "top", opacity=0.8)
    number = 0
    for number, frame in enumerate(frames_of(source), start=1):
        picture = frame.turned(turn)
        panel.lay(picture)
        yield picture
        if number == total:
            return
    raise ValueError(f"the parent's video has {number} frames, not {total}")


class _Lettering:
    """What stands in every frame: the prompt, who drew it, the time."""

    def __init__(self, job: Job, size: tuple[int, int], total: int) -> None:
        self.size, self.total = size, total
        self.prompt = prompt_panel(job.prompt, size, "bottom")
        self.label = label_panel(f"local renderer · {job.model}", size, "left")

    def lay(self, picture: Planes, number: int, strength: float = 1.0) -> None:
        if strength == 0:
            return
        clock = label_panel(
            f"{number + 1:04d} / {self.total:04d}   {number / FPS:05.2f} s", self.size, "right"
        )
        for panel in (self.prompt, self.label, clock):
            if panel is not None:
                panel.lay(picture, strength)


def _sheet(tiles: list[Image.Image]) -> Image.Image:
    width, height = tiles[0].size
    rows = -(-len(tiles) // _COLUMNS)
    sheet = Image.new("RGB", (width * min(_COLUMNS, len(tiles)), height * rows))
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number % _COLUMNS * width, number // _COLUMNS * height))
    return sheet
