"""The flow `storyboard`: shots are rendered, each paid for once, and joined into one film.

Whatever ended a run, another run with the same scope goes on: it finds what is kept, a shot that
starts from another's last frame gets the same frame, and the same clips make the same film.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Unpack

from prefect import flow, task
from prefect.runtime import flow_run as running_flow
from pydantic import Field, WithJsonSchema

from prefect_sora.blocks import Store, VideoStore, store_of
from prefect_sora.errors import SoraError, StoryboardError
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.handles import StoredVideo
from prefect_sora.renders import film as films
from prefect_sora.renders.film import Cut, StoredFilm
from prefect_sora.renders.run import render
from prefect_sora.renders.submit.prepare import identify
from prefect_sora.requests import storyboard as storyboards
from prefect_sora.requests.storyboard import Shot, Storyboard, naming
from prefect_sora.requests.video import VideoRequest, title
from prefect_sora.servers.estimates import estimate
from prefect_sora.tasks import film_artifacts
from prefect_sora.tasks.artifacts import logger
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
    requests = await _checked(board, provider, steps.options.scope)
    filming = _Filming(board, requests, steps, asyncio.Semaphore(max_concurrent))
    async with asyncio.TaskGroup() as group:
        for chain in board.chains():
            group.create_task(filming.chain(chain))
    if filming.failures:
        raise filming.failed()
    if filming.defects:
        raise filming.defects[0]
    for (number, take), error in sorted(filming.spare_failures.items()):
        logger().warning("Take %d of shot %d, which the film needs not: %s", take, number, error)
    return await keep_film(board.title, filming.cuts(), store, filming.cost_usd())


async def _checked(board: Storyboard, provider: Providers, scope: str) -> list[VideoRequest]:
    """Check all shots against model, server and keyframes, before any of them is paid for."""
    requests = await board.requests()
    first = await first_there(provider)
    for number, request in enumerate(requests, start=1):
        with naming(number):
            for warning in (await identify(request, first, scope)).warnings:
                logger().warning("Shot %d: %s", number, warning)
    renders = board.renders(requests)
    total = estimate(renders, first.server)
    logger().info("%d shots, %d renders, estimated cost: %s", len(requests), len(renders), total)
    return requests


@dataclass
class _Filming:
    """The shots of one run: what is kept, what failed, what was not begun."""

    board: Storyboard
    requests: list[VideoRequest]
    steps: TaskSteps
    gate: asyncio.Semaphore
    clips: dict[tuple[int, int], StoredVideo] = field(default_factory=dict)
    failures: dict[int, SoraError] = field(default_factory=dict)
    spare_failures: dict[tuple[int, int], SoraError] = field(default_factory=dict)
    defects: list[Exception] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)

    async def chain(self, numbers: Sequence[int]) -> None:
        """Render shots that each start from the last; takes that no shot needs go on beside."""
        before: StoredVideo | None = None
        async with asyncio.TaskGroup() as spare_takes:
            for position, number in enumerate(numbers):
                shot, request = self.board.shots[number - 1], self.requests[number - 1]
                try:
                    if before is not None:
                        frame = await take_last_frame(before, self.steps.store)
                        request = request.model_copy(update={"reference": frame})
                    for take in range(1, shot.takes + 1):
                        if take != shot.use_take:
                            spare_takes.create_task(self.spare(number, take, request))
                    before = await self.render(number, shot.use_take, request)
                except SoraError as error:
                    self.failures[number] = error
                    self.waiting += numbers[position + 1 :]
                    return
                except Exception as error:
                    self.defect(number, error)
                    return

    async def render(self, number: int, take: int, request: VideoRequest) -> StoredVideo:
        """Render one take, when it is its turn."""
        async with self.gate:
            clip = await render(request.model_copy(update={"take": take}), self.steps)
        self.clips[number, take] = clip
        return clip

    async def spare(self, number: int, take: int, request: VideoRequest) -> None:
        """Render a take that the film does not show; its failure stops nothing."""
        try:
            await self.render(number, take, request)
        except SoraError as error:
            self.spare_failures[number, take] = error
        except Exception as error:
            self.defect(number, error)

    def defect(self, number: int, error: Exception) -> None:
        """Note an unexpected error; the other shots are paid for, and go on."""
        logger().exception("Shot %d", number)
        self.defects.append(error)

    def cuts(self) -> list[Cut]:
        """What the film shows."""
        return [
            self._cut(number, shot, self.clips[number, shot.use_take])
            for number, shot in enumerate(self.board.shots, start=1)
        ]

    def _cut(self, number: int, shot: Shot, clip: StoredVideo) -> Cut:
        chained = self.board.is_chained(number)
        return Cut(
            number=number,
            title=shot.name,
            prompt=self.requests[number - 1].prompt,
            take=shot.use_take,
            takes=shot.takes,
            continuity="last_frame" if chained else "keyframe" if shot.keyframe else "cut",
            key=clip.key,
            video_id=clip.video_id,
            provider=clip.provider,
            folder=clip.folder,
            url=clip.url,
            sha256=clip.sha256,
        )

    def cost_usd(self) -> float | None:
        """What all takes cost together; None where one cost is not known."""
        costs = [clip.cost_usd for clip in {c.key: c for c in self.clips.values()}.values()]
        known = [cost for cost in costs if cost is not None]
        return round(sum(known), 6) if len(known) == len(costs) else None

    def failed(self) -> StoryboardError:
        """Say which shots failed, which are kept, and how to go on."""
        shots = len(self.board.shots)
        kept = [
            number
            for number, shot in enumerate(self.board.shots, start=1)
            if (number, shot.use_take) in self.clips
        ]
        said = [f"{len(kept)} of {shots} shots are kept."]
        for number, error in sorted(self.failures.items()):
            alone = len(self.failures) == 1
            said.append(f"Shot {number} has none: {error if alone else error.message}")
        if self.waiting:
            numbers = ", ".join(map(str, sorted(self.waiting)))
            said.append(f"Not begun, for they start from another's last frame: {numbers}.")
        everything = [*self.failures.values()]
        return StoryboardError(
            " ".join(said),
            failures=self.failures,
            waiting=sorted(self.waiting),
            paid="yes"
            if self.clips or any(error.paid == "yes" for error in everything)
            else "unknown"
            if any(error.paid == "unknown" for error in everything)
            else "no",
            next_step=NextStep("again", scope=self.steps.options.scope),
        )


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
) -> StoredFilm:
    """Join kept clips into a film, keep it with its cut list and contact sheet, and show it.

    Args:
        title: The film's.
        cuts: What it shows, in order.
        store: Where the clips are, and the film is kept.
        cost_usd: What its clips have cost.

    Raises:
        JoinError: The clips cannot be joined; each is kept.
        StorageError: The store refuses.
    """
    folder = store_of(store).folder
    film_artifacts.stitching(title, len(cuts))
    kept = await films.keep_film(title, cuts, folder, cost_usd)
    await film_artifacts.show_film(kept, folder)
    return kept.film


__all__ = ["keep_film", "storyboard", "take_last_frame"]
