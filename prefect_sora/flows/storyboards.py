"""The flow `storyboard`: shots are rendered, each paid for once, and joined into one film.

Whatever ended a run, another run with the same scope goes on: it finds what is kept, a shot that
starts from another's last frame gets the same frame, and the same clips make the same film.
"""

import asyncio
from pathlib import Path
from typing import Annotated, Unpack

from prefect.runtime import flow_run as running_flow
from pydantic import Field, WithJsonSchema

from prefect_sora.blocks import Store, VideoStore, store_of
from prefect_sora.handles import StoredVideo
from prefect_sora.renders import film as films
from prefect_sora.renders.film import Cut, StoredFilm
from prefect_sora.renders.film.shots import Filming, checked
from prefect_sora.requests import storyboard as storyboards
from prefect_sora.requests.storyboard import Audio, Storyboard
from prefect_sora.requests.video import title
from prefect_sora.tasks import film_artifacts
from prefect_sora.tasks.artifacts import logger
from prefect_sora.tasks.calling import flow, task
from prefect_sora.tasks.parameters import Providers, RenderParameters, spelled_out
from prefect_sora.tasks.providers import first_there
from prefect_sora.tasks.video import AGAIN, TaskSteps

Board = Annotated[
    Storyboard | Annotated[str | Path, WithJsonSchema({"type": "string"})],
    Field(description="A storyboard, or the path or URL of its YAML or JSON file."),
]


def _named() -> str:
    board = running_flow.parameters.get("board")
    name = board.get("title") if isinstance(board, dict) else getattr(board, "title", None)
    return f"storyboard · {title(name if isinstance(name, str) else Path(str(board)).name)}"


@flow(name="storyboard", flow_run_name=_named)
@spelled_out
async def storyboard(
    board: Board,
    provider: Providers,
    store: Store,
    *,
    max_concurrent: Annotated[
        int, Field(ge=1, description="How many shots and takes are rendered at once.")
    ] = 2,
    **how: Unpack[RenderParameters],
) -> StoredFilm:
    """Render the shots of a storyboard, and join them into a film that is kept in the store.

    Raises:
        InvalidRequestError: The storyboard cannot be filmed as it stands; nothing was paid.
        StoryboardError: Some shots have no video. The others are kept, and the same scope
            goes on with them.
        JoinError: The shots are kept, and cannot be joined.
    """
    if not isinstance(board, Storyboard):
        board = await storyboards.read(board)
    steps = await TaskSteps.of(provider, store, how)
    await films.audio_of(board.audio, store_of(store).folder)
    requests = await checked(board, await first_there(provider), steps.options.scope, logger())

    async def last_frame(clip: StoredVideo) -> str:
        frame: str = await take_last_frame(clip, store)
        return frame

    gate, scope = asyncio.Semaphore(max_concurrent), steps.options.scope
    filming = Filming(board, requests, steps, scope, last_frame, gate, logger())
    cuts = await filming.film()
    return await keep_film(board.title, cuts, store, audio=board.audio, **filming.costs())


@task(name="take-last-frame", task_run_name="last frame · {video.title}", **AGAIN)
async def take_last_frame(video: StoredVideo, store: VideoStore | str | Path) -> str:
    """Keep a clip's last frame beside it, and say where; the next shot begins with it.

    Raises:
        CorruptVideoError: The clip cannot be decoded.
        StorageError: The store refuses.
    """
    return await films.last_frame_of(video, store_of(store).folder)


@task(name="keep-film", task_run_name="stitch · {title}", **AGAIN)
async def keep_film(
    title: str,
    cuts: list[Cut],
    store: VideoStore | str | Path,
    cost_usd: float | None = None,
    audio: Audio | None = None,
    actual_usd: float | None = None,
) -> StoredFilm:
    """Join kept clips into a film, keep it with its cut list and contact sheet, and show it.

    Args:
        title: The film's.
        cuts: What it shows, in order.
        store: Where the clips are, and the film is kept.
        cost_usd: What its clips have cost, by the servers' prices.
        audio: Its sound, in place of the clips' own.
        actual_usd: What they have cost by the servers' word.

    Raises:
        InvalidRequestError: The audio cannot be read; the clips are kept.
        JoinError: The clips cannot be joined; each is kept.
        StorageError: The store refuses.
    """
    folder = store_of(store).folder
    film_artifacts.stitching(title, len(cuts))
    kept = await films.keep_film(title, cuts, folder, cost_usd, audio, actual_usd)
    await film_artifacts.show_film(kept, folder)
    return kept.film


__all__ = ["keep_film", "storyboard", "take_last_frame"]
