"""Shots: the shots of a storyboard are rendered, a few at a time, each paid for once."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from prefect_sora.errors import SoraError, StoryboardError
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.handles import StoredVideo
from prefect_sora.renders.film.keep import Cut
from prefect_sora.renders.run import Steps, render
from prefect_sora.renders.submit.prepare import identify
from prefect_sora.requests.storyboard import Shot, Storyboard, naming
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.estimates import estimate
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.video_prices import total_usd

Log = logging.Logger | logging.LoggerAdapter[Any]

log: Final = logging.getLogger(__name__)


async def checked(
    board: Storyboard, client: VideoClient, scope: str, log: Log = log
) -> list[VideoRequest]:
    """Check all shots against model, server and keyframes, before any of them is paid for.

    Raises:
        InvalidRequestError: One cannot be rendered as it stands.
    """
    requests = await board.requests()
    for number, request in enumerate(requests, start=1):
        with naming(number):
            for warning in (await identify(request, client, scope)).warnings:
                log.warning("Shot %d: %s", number, warning)
    renders = board.renders(requests)
    total = estimate(renders, client.server)
    log.info("%d shots, %d renders, estimated cost: %s", len(requests), len(renders), total)
    return requests


@dataclass
class Filming:
    """The shots of one run: what is kept, what failed, what was not begun.

    Attributes:
        board: What is filmed.
        requests: One for each of its shots.
        steps: How each is rendered.
        scope: Whom the renders are shared with.
        last_frame: Keeps a clip's last frame, and says where; the next shot begins with it.
        gate: Lets so many be rendered at once.
        log: Hears of what stops nothing.
    """

    board: Storyboard
    requests: list[VideoRequest]
    steps: Steps
    scope: str
    last_frame: Callable[[StoredVideo], Awaitable[str]]
    gate: asyncio.Semaphore
    log: Log = log
    clips: dict[tuple[int, int], StoredVideo] = field(default_factory=dict)
    failures: dict[int, SoraError] = field(default_factory=dict)
    spare_failures: dict[tuple[int, int], SoraError] = field(default_factory=dict)
    defects: list[Exception] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)

    async def film(self) -> list[Cut]:
        """Render all shots, and say what the film shows.

        Raises:
            StoryboardError: Some have no video; the others are kept.
        """
        async with asyncio.TaskGroup() as group:
            for chain in self.board.chains():
                group.create_task(self.chain(chain))
        if self.failures:
            raise self.failed()
        if self.defects:
            raise self.defects[0]
        for (number, take), error in sorted(self.spare_failures.items()):
            self.log.warning(
                "Take %d of shot %d, which the film needs not: %s", take, number, error
            )
        return self.cuts()

    async def chain(self, numbers: Sequence[int]) -> None:
        """Render shots that each start from the last; takes that no shot needs go on beside."""
        before: StoredVideo | None = None
        async with asyncio.TaskGroup() as spare_takes:
            for position, number in enumerate(numbers):
                shot, request = self.board.shots[number - 1], self.requests[number - 1]
                try:
                    if before is not None:
                        frame = await self.last_frame(before)
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
        self.log.exception("Shot %d", number)
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

    def costs(self) -> dict[str, float | None]:
        """What all takes cost together, estimated and real; None where one cost is not known."""
        clips = {clip.key: clip for clip in self.clips.values()}.values()
        return {
            "cost_usd": total_usd(clip.cost_usd for clip in clips),
            "actual_usd": total_usd(clip.actual_usd for clip in clips),
        }

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
            next_step=NextStep("again", scope=self.scope),
        )
