"""Standing: what was paid for is found in the records, whatever was written after it."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from time import time
from typing import Any

import pytest

from prefect_sora.handles import StoredVideo, VideoJob
from prefect_sora.renders.recovery.sweep import sweep
from prefect_sora.renders.submit.adopt import adopt
from prefect_sora.renders.submit.prepare import identify
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.latest_attempt import telling, to_read
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import PASSED_ON, Failed, RenderState, Stored
from prefect_sora.store.server_turns import pass_on
from tests.support.renderer import Renderer
from tests.support.renders import POLLING, clip, go

ENDS = (None, "refused", "failed", "moderated", PASSED_ON)


@dataclass(frozen=True)
class One:
    """One attempt, by what stands of it and can be read."""

    attempt: int
    accepted: bool = False
    stored: bool = False
    ended: str | None = None

    @property
    def is_kept(self) -> bool:
        return self.stored

    @property
    def is_on_its_way(self) -> bool:
        return self.accepted and not self.stored and self.ended is None

    @property
    def kinds(self) -> set[str]:
        found = {"reserved"} | {k for k in ("accepted", "stored") if getattr(self, k)}
        return found | ({"failed"} if self.ended else set())


def every(attempt: int) -> Iterator[One]:
    for accepted, stored, ended in itertools.product((False, True), (False, True), ENDS):
        yield One(attempt, accepted, stored, ended)


def read(attempts: tuple[One, ...]) -> list[One]:
    """What is read of them, group by group, as the ledger does."""
    found: list[One] = []
    for group in to_read({one.attempt: one.kinds for one in attempts}):
        found += [one for one in attempts if one.attempt in group]
        if any(one.is_kept for one in found):
            break
    return found


@pytest.mark.parametrize("count", [1, 2, 3])
def test_of_all_combinations_what_is_kept_comes_first_then_what_is_paid_then_the_newest(
    count: int,
) -> None:
    for attempts in itertools.product(*(every(n) for n in range(1, count + 1))):
        told = telling(read(attempts))
        kept = [one for one in attempts if one.is_kept]
        on_their_way = [one for one in attempts if one.is_on_its_way]
        expected = (kept or on_their_way or attempts)[-1]
        assert told == expected, attempts


def test_a_kept_render_is_told_by_its_own_attempt_alone() -> None:
    kinds = {n: {"reserved", "accepted", "failed"} for n in range(1, 40)}
    first, *_ = to_read({**kinds, 40: {"reserved", "accepted", "stored"}})
    assert first == [40]


def test_what_was_refused_forty_times_is_read_once() -> None:
    assert list(to_read({n: {"reserved", "failed"} for n in range(1, 41)})) == [[40]]


def job(folder: str, attempt: int) -> VideoJob:
    return VideoJob(
        key=folder.rpartition("-")[2],
        attempt=attempt,
        folder=folder,
        video_id=f"video_{attempt}",
        provider="test",
        title="a kite",
        model=None,
        take=1,
        size="64x64",
        seconds=1,
        submitted_at=time(),
        adopted=False,
    )


async def written(
    ledger: Ledger, client: VideoClient, attempts: tuple[One, ...], scope: str = "tonight"
) -> RenderState:
    """Write down what stands of several attempts, and read where the render stands."""
    prepared = await identify(clip(), client, scope)
    folder = prepared.folder
    for one in attempts:
        mine = prepared.reservation(client.server, one.attempt, None)
        assert await ledger.reserve(folder, mine)
        ledger.release(mine)
        if one.accepted:
            await ledger.accept(folder, job(folder, one.attempt))
        if one.ended:
            kind: Any = "refused" if one.ended == PASSED_ON else one.ended
            code = PASSED_ON if one.ended == PASSED_ON else None
            record = Failed(
                key=prepared.key, attempt=one.attempt, at=time(), kind=kind, message="no", code=code
            )
            await ledger.fail(folder, record)
        if one.stored:
            video = StoredVideo(
                **job(folder, one.attempt).model_dump(include=set(StoredVideo.model_fields)),
                url="memory://x/video.mp4",
                sha256="0" * 64,
                size_bytes=1,
                width=64,
                height=64,
                created_at=time(),
            )
            await ledger.keep(folder, video)
    return await ledger.state(folder)


async def test_the_ledger_reads_every_pair_of_attempts_so(client: VideoClient) -> None:
    ledger = Ledger(VideoFolder("memory://standing"))
    for n, pair in enumerate(itertools.product(every(1), every(2))):
        if {one.ended for one in pair} & {"failed", "moderated"}:
            continue  # read like a refusal
        state = await written(ledger, client, pair, scope=f"scope {n}")
        expected = telling(pair)
        assert (state.attempt, state.newest, state.next_attempt) == (expected.attempt, 2, 3), pair
        assert (state.is_kept, state.is_on_its_way) == (
            expected.is_kept,
            expected.is_on_its_way,
        ), pair
        assert state.passed_on == (expected.ended == PASSED_ON), pair


@pytest.mark.parametrize("ended", ["refused", "failed", "moderated", PASSED_ON])
async def test_a_late_acceptance_is_not_hidden_by_a_newer_refusal(
    client: VideoClient, ledger: Ledger, renderer: Renderer, ended: str
) -> None:
    state = await written(ledger, client, (One(1, accepted=True), One(2, ended=ended)))
    assert (await go(client, ledger, passed_on_after=0)).video_id == "video_1"
    assert [one.name for one in await ledger.unfinished()] == ["accepted"]
    assert not await pass_on(state.folder, ledger)
    assert renderer.requests("create") == []


async def test_a_sweep_brings_home_what_was_accepted_late(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    await written(disk, client, (One(1), One(2, ended="refused")))
    (folder,) = await disk.folders()
    video = await client.submit(clip(), None, "the first one's, after all")
    await disk.accept(folder, job(folder, 1).model_copy(update={"video_id": video.id}))

    async def client_of(_: RenderState) -> VideoClient:
        return client

    (swept,) = await sweep(disk, client_of, POLLING)
    assert (swept.outcome, renderer.accepted()) == ("kept", 1)


async def test_an_adoption_beside_a_late_acceptance_takes_a_number_of_its_own(
    client: VideoClient, disk: Ledger
) -> None:
    state = await written(disk, client, (One(1, accepted=True), One(2, ended="refused")))
    video = await client.submit(clip(), None, "a person's")
    assert (await adopt(state, client, disk, video.id)).attempt == 3


async def test_a_torn_record_of_a_kept_video_hides_no_whole_one(
    client: VideoClient, disk: Ledger
) -> None:
    state = await written(disk, client, (One(1, stored=True), One(2, accepted=True, stored=True)))
    await disk.store.put(f"{state.folder}/stored-2.json", b"torn")
    again = await disk.state(state.folder)
    assert (again.attempt, again.stored is not None) == (1, True)
    assert isinstance(again.stored, Stored)
