"""Loops: videos and pictures are paid for by one set of rules, on slow stores and busy servers."""

import asyncio
import base64
import io
from collections import Counter
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any

import pytest
from PIL import Image

from prefect_sora.errors import (
    BudgetExceededError,
    RateLimitError,
    RenderFailedError,
    RenderTimeoutError,
    SoraError,
    StorageError,
    UncertainSubmitError,
)
from prefect_sora.limits import limits
from prefect_sora.renders.finish.wait import wait
from prefect_sora.renders.images.prepare import identify as identify_pictures
from prefect_sora.renders.images.resume import resume as resume_pictures
from prefect_sora.renders.images.submit import draw
from prefect_sora.renders.recovery.resume import take_up
from prefect_sora.renders.submit import send_window
from prefect_sora.renders.submit.attempt import Attempt
from prefect_sora.renders.submit.options import Budget, RenderOptions
from prefect_sora.renders.submit.prepare import identify
from prefect_sora.requests.image import ImageRequest
from prefect_sora.servers.profiles import Profile
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.video_prices import read_prices
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import RenderState, Reserved
from prefect_sora.store.spending_chain import chain_of
from tests.support.limits import Limit
from tests.support.renderer import Renderer
from tests.support.renders import a_dead_process, clip, go, left_in_doubt
from tests.support.scripted import QUICK, Jobs, Reply, Script

Make = Callable[..., Coroutine[Any, Any, Any]]
TEN_CENTS = read_prices({"*": 0.10})
BUSY = {"error": {"message": "too many"}}


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (200, 60, 40)).save(file, "PNG")
    return file.getvalue()


PICTURE: Reply = (200, {}, {"data": [{"b64_json": base64.b64encode(png()).decode()}]})


async def drawn(client: VideoClient, ledger: Ledger, **options: Any) -> Any:
    request = ImageRequest.of(prompt="a lantern", model="painter", size="64x48")
    prepared = await identify_pictures(request, client.server, "tonight")
    return await draw(prepared, client, ledger, RenderOptions("tonight", **options))


class Both:
    """A server of videos and pictures, which first answers what a test lists."""

    def __init__(self, *first: Reply) -> None:
        self.first = list(first)
        self.jobs = Jobs(lose=0)

    def __call__(self, method: str, path: str, body: bytes) -> Reply:
        if method == "POST" and self.first:
            return self.first.pop(0)
        return PICTURE if "/images/" in path else self.jobs(method, path, body)


BOTH = pytest.mark.parametrize(
    "make", [pytest.param(go, id="a video"), pytest.param(drawn, id="a picture")]
)


@pytest.fixture
def short_window(limit: Limit) -> None:
    """A create may leave half a second after its stamp, and a store is slow from 0.2 s on."""
    limit(leave_seconds=0.5, slow_store_seconds=0.2)


class SlowStore(VideoFolder):
    """A disk on which each record takes 0.7 s to be written."""

    async def create(self, name: str, data: bytes, **more: Any) -> bool:
        await asyncio.sleep(0.7)
        return await super().create(name, data, **more)


@pytest.mark.slow
@pytest.mark.usefixtures("short_window")
@BOTH
async def test_on_a_slow_store_the_deadline_ends_it_and_nothing_was_sent(
    make: Make, scripted: Script, disk: Ledger
) -> None:
    server, client = scripted(Both())
    slow = Ledger(SlowStore(disk.store.root))
    began = monotonic()
    with pytest.raises(StorageError, match="too slow") as caught:
        await make(client, slow, timeout_seconds=0.3)
    assert (caught.value.paid, server.posts()) == ("no", 0)
    (folder,) = await disk.folders()
    assert sorted(await disk.store.names(folder)) == ["failed.json", "reserved.json"]
    assert monotonic() - began < 30


@pytest.mark.slow
@pytest.mark.usefixtures("short_window")
@BOTH
async def test_a_slow_store_is_granted_the_time_that_it_takes(
    make: Make, scripted: Script, disk: Ledger
) -> None:
    server, client = scripted(Both())
    made = await make(client, Ledger(SlowStore(disk.store.root)), timeout_seconds=60)
    assert (made.attempt, server.posts()) == (2, 1)
    first, second = [await disk.reservation(made.folder, n) for n in (1, 2)]
    assert first
    assert second
    assert first.send_seconds == limits().send_seconds
    assert second.send_seconds is not None
    # Others read in the record until when to expect it.
    assert second.send_seconds >= limits().send_seconds + 2 * 0.7
    doubt = send_window.doubt_of(await disk.state(made.folder), QUICK)
    assert doubt.until - second.at <= second.send_seconds + QUICK.longest_create_s


@BOTH
async def test_a_worker_that_was_delayed_sends_nothing_once_another_may_have(
    make: Make, scripted: Script, disk: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = scripted(Both())
    opened, delayed = asyncio.Event(), asyncio.Event()
    is_open = send_window.Window.is_open

    reserve = Ledger.reserve

    async def delays(self: Ledger, folder: str, record: Any) -> bool:
        won = await reserve(self, folder, record)
        if not delayed.is_set():
            delayed.set()
            await opened.wait()
        return won

    def slept(self: send_window.Window, now: float, steady: float) -> bool:
        late = 3600.0 if self.begun < woke else 0.0  # what was stamped before it woke up is old
        return is_open(self, now + late, steady + late)

    woke = 0.0
    monkeypatch.setattr(Ledger, "reserve", delays)
    monkeypatch.setattr(send_window.Window, "is_open", slept)
    first = asyncio.create_task(make(client, disk, in_doubt="resubmit"))
    await delayed.wait()
    with monkeypatch.context() as patch:  # its lease is over: another worker takes the render up
        patch.setattr(Ledger, "is_held", staticmethod(lambda _: False))
        second = await make(client, disk, in_doubt="resubmit")
    woke = monotonic()
    opened.set()
    one = await first
    assert (one.attempt, second.attempt, server.posts()) == (2, 2, 1)


@BOTH
async def test_a_store_that_cannot_be_read_is_no_word_about_the_money(
    make: Make, scripted: Script, disk: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = scripted(Both())

    async def down(*_: object) -> Any:
        raise StorageError("The store is down.")

    monkeypatch.setattr(Ledger, "state", down)
    with pytest.raises(StorageError) as caught:
        await make(client, disk)
    assert (caught.value.paid, server.posts()) == ("unknown", 0)
    assert "Nothing was sent this time" in str(caught.value)


async def test_a_store_that_fails_while_a_pictures_doubt_is_settled_is_no_word_either(
    scripted: Script, disk: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = scripted(lambda *_: None)
    with pytest.raises(SoraError):
        await drawn(client, disk)

    async def down(*_: object) -> Any:
        raise StorageError("The store is down.")

    monkeypatch.setattr("prefect_sora.renders.images.submit.bring_home", down)
    with pytest.raises(StorageError) as caught:
        await drawn(client, disk, in_doubt="resubmit")
    assert (caught.value.paid, server.posts()) == ("unknown", 1)


@pytest.mark.slow
@BOTH
async def test_a_server_that_says_itself_that_it_is_overloaded_is_asked_again(
    make: Make, scripted: Script, disk: Ledger
) -> None:
    overloaded: Reply = (503, {"Retry-After": "0.1"}, {"error": {"message": "overloaded"}})
    server, client = scripted(Both(overloaded, overloaded))
    assert (await make(client, disk)).attempt == 3
    assert server.posts() == 3


async def test_a_picture_that_failed_is_not_sent_again_by_itself(
    scripted: Script, disk: Ledger
) -> None:
    # No list shows whether it was made all the same; a video's does.
    failed: Reply = (500, {}, {"error": {"message": "no GPU"}})
    server, client = scripted(Both(failed))
    with pytest.raises(RenderFailedError) as caught:
        await drawn(client, disk)
    assert (caught.value.paid, server.posts()) == ("unknown", 1)


@BOTH
async def test_retries_of_what_was_refused_together_are_spread(
    make: Make, scripted: Script, disk: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def heard(seconds: float, *more: Any) -> Any:
        pauses.append(seconds)
        return await sleep(0, *more)

    _, client = scripted(Both(*[(429, {"Retry-After": "2"}, BUSY)] * 3))
    monkeypatch.setattr("prefect_sora.renders.submit.pay.asyncio.sleep", heard)
    await make(client, disk)
    asked = [seconds for seconds in pauses if 2.0 <= seconds <= 2.5]
    assert len(asked) == 3
    assert len({*asked}) == 3


async def spent(ledger: Ledger, period: str) -> float:
    newest = await chain_of(ledger.store, period)._entries.go_on()
    assert newest is not None
    return newest.total_usd


async def only_period(ledger: Ledger) -> str:
    (period,) = await ledger.store.names(".spending")
    return period.rstrip("/")


REFUSALS = 12


@BOTH
async def test_a_refusal_costs_the_store_a_handful_of_requests_however_many_there_were(
    make: Make, scripted: Script, disk: Ledger, monkeypatch: pytest.MonkeyPatch, limit: Limit
) -> None:
    limit(busy_pause_max_seconds=0.01)
    asked: Counter[str] = Counter()
    listed = 0
    for verb in ("create", "read", "names", "put", "delete"):
        original = getattr(VideoFolder, verb)

        async def heard(self: VideoFolder, *args: Any, _o: Any = original, **more: Any) -> Any:
            nonlocal listed
            asked[_o.__name__] += 1
            found = await _o(self, *args, **more)
            listed += len(found) if _o.__name__ == "names" else 0
            return found

        monkeypatch.setattr(VideoFolder, verb, heard)
    server, client = scripted(Both(*[(429, {}, BUSY)] * REFUSALS), prices=PRICES)
    await make(client, disk, budget=Budget(1.0, 1.0))
    assert server.posts() == REFUSALS + 1
    # A look, its two records, a closed attempt and the next reservation; the charge stands.
    assert asked["names"] <= REFUSALS + 15
    assert asked["read"] <= 2 * REFUSALS + 15
    assert asked["create"] <= 2 * REFUSALS + 15
    assert listed <= REFUSALS * (REFUSALS + 1) + 30


PRICES = (*TEN_CENTS, ("painter", "*", 0.10))


@BOTH
async def test_what_was_refused_for_the_moment_is_charged_once(
    make: Make, scripted: Script, disk: Ledger
) -> None:
    server, client = scripted(Both(*[(429, {"Retry-After": "0"}, BUSY)] * 2), prices=PRICES)
    made = await make(client, disk, budget=Budget(0.1))
    assert (made.attempt, server.posts()) == (3, 3)
    period = await only_period(disk)
    assert await spent(disk, period) == 0.1
    assert len(await disk.store.names(f".spending/{period}")) == 2
    last = await disk.reservation(made.folder, 3)
    assert last
    assert (last.charged_attempt, last.charged_as) == (1, 1)


@BOTH
async def test_who_gives_up_on_a_busy_server_is_charged_nothing(
    make: Make, scripted: Script, disk: Ledger
) -> None:
    _, client = scripted(Both(*[(429, {"Retry-After": "60"}, BUSY)] * 2), prices=PRICES)
    with pytest.raises(RateLimitError):
        await make(client, disk, budget=Budget(0.1), timeout_seconds=5)
    assert await spent(disk, await only_period(disk)) == 0.0


@BOTH
async def test_who_is_cancelled_while_a_server_is_busy_is_charged_nothing_and_in_no_doubt(
    make: Make, scripted: Script, disk: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, fail = asyncio.Event(), Ledger.fail

    async def heard(self: Ledger, folder: str, *record: Any) -> None:
        await fail(self, folder, *record)
        closed.set()

    monkeypatch.setattr(Ledger, "fail", heard)
    server, client = scripted(Both(*[(429, {"Retry-After": "60"}, BUSY)] * 2), prices=PRICES)
    run = asyncio.create_task(make(client, disk, budget=Budget(0.1)))
    await closed.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert (await disk.state((await disk.folders())[0])).name == "failed"
    assert (await spent(disk, await only_period(disk)), server.posts()) == (0.0, 1)


async def test_a_charge_is_taken_over_from_nobody_else(scripted: Script, disk: Ledger) -> None:
    # Between two attempts of ours another machine has one, which settles what was charged before.
    both = Both((429, {"Retry-After": "0"}, BUSY), (429, {"Retry-After": "0"}, BUSY))
    server, client = scripted(both, prices=PRICES)
    results = await asyncio.gather(
        *(go(client, disk, budget=Budget(0.1), timeout_seconds=30) for _ in range(3))
    )
    assert len({job.video_id for job in results}) == 1
    assert server.posts() == 3
    assert await spent(disk, await only_period(disk)) == 0.1


async def test_a_charge_that_was_taken_over_pays_for_a_job_that_failed(
    scripted: Script, disk: Ledger
) -> None:
    both = Both((429, {"Retry-After": "0"}, BUSY))
    both.jobs.echo = {"status": "failed", "error": {"message": "no luck"}}
    _, client = scripted(both, prices=PRICES)
    for total in (0.1, 0.2):
        job = await go(client, disk, budget=Budget(1.0))
        with pytest.raises(RenderFailedError):
            await wait(job, client, disk)
        assert await spent(disk, await only_period(disk)) == total


async def test_an_adopted_job_that_failed_stays_charged(scripted: Script, disk: Ledger) -> None:
    echo = {"status": "failed", "error": {"message": "no luck"}}
    jobs = Jobs(lose=1, echo=echo)
    _, client = scripted(jobs, BLIND, prices=PRICES)
    with pytest.raises(SoraError):  # its answer is lost, and the list cannot be read
        await go(client, disk, budget=Budget(1.0))
    _, seeing = scripted(jobs, prices=PRICES)
    object.__setattr__(seeing.server, "identity", client.server.identity)
    for total in (0.1, 0.2):
        job = await go(seeing, disk, budget=Budget(1.0))
        with pytest.raises(RenderFailedError):
            await wait(job, seeing, disk)
        assert await spent(disk, await only_period(disk)) == total


BLIND = Profile(name="blind", can_list=False)


async def test_a_deadline_that_passes_while_in_doubt_sends_nothing_more(
    client: VideoClient, disk: Ledger, renderer: Renderer, limit: Limit
) -> None:
    limit(leave_seconds=1.0)
    folder = await left_in_doubt(client, disk, owner=a_dead_process())
    with pytest.raises(RenderTimeoutError, match="deadline passed") as caught:
        await go(client, disk, timeout_seconds=0.1)
    assert (caught.value.paid, renderer.accepted()) == ("no", 0)
    # The doubt is settled: the next run sends at once.
    assert (await disk.state(folder)).name == "failed"
    assert (await go(client, disk)).attempt == 3


async def resubmitted(make: Make, client: VideoClient, ledger: Ledger, **budget: Any) -> Any:
    (folder,) = await ledger.folders()
    state = await ledger.state(folder)
    if make is drawn:
        return await resume_pictures(state, client, ledger, resubmit=True, **budget)
    return await take_up(state, client, ledger, resubmit=True, **budget)


@BOTH
async def test_what_is_resubmitted_asks_the_budget_that_it_was_sent_under(
    make: Make, scripted: Script, disk: Ledger
) -> None:
    server, client = scripted(Both(None), BLIND, prices=PRICES)
    with pytest.raises(UncertainSubmitError):
        await make(client, disk, budget=Budget(run_usd=5.0, daily_usd=0.15))
    # Whether the first one was paid is not known, so it counts.
    with pytest.raises(BudgetExceededError, match="the store's budget") as caught:
        await resubmitted(make, client, disk)
    assert (caught.value.budget_usd, caught.value.paid, server.posts()) == (0.15, "unknown", 1)
    with pytest.raises(BudgetExceededError, match="max_cost_usd allows"):
        await resubmitted(make, client, disk, budget=Budget(run_usd=0.15))
    again = await resubmitted(make, client, disk, budget=Budget(run_usd=5.0, daily_usd=0.2))
    assert again.attempt > 1
    assert server.posts() == 2


class LateRead(Ledger):
    """A store whose second answer is as old as a busy thread leaves it: its owner goes on first."""

    def __init__(self, store: VideoFolder, owner: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        super().__init__(store)
        self._owner, self._reads = owner, 0

    async def state(self, folder: str) -> RenderState:
        read = await super().state(folder)
        self._reads += 1
        if self._reads == 2:
            await self._owner()
        return read


async def test_what_its_owner_records_between_two_looks_is_not_sent_again(
    scripted: Script, disk: Ledger
) -> None:
    server, client = scripted(Both())
    prepared = await identify(clip(), client, "tonight")
    owners = prepared.reservation(client.server, 1, None)
    assert await disk.reserve(prepared.folder, owners)

    async def records_and_lets_go() -> None:
        video = await client.submit(prepared.request, None, "the owner's")
        await Attempt(owners, prepared.folder, client, disk).accept(video, adopted=False)
        disk.release(owners)

    job = await go(client, LateRead(disk.store, records_and_lets_go))

    assert (job.attempt, server.posts()) == (1, 1)


async def test_what_is_recorded_while_another_begins_is_not_sent_again(
    scripted: Script, disk: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = scripted(Both())
    folder = await left_in_doubt(client, disk)
    owners = await disk.reservation(folder, 1)
    assert owners
    reserve = Ledger.reserve

    async def late(ledger: Ledger, folder: str, mine: Reserved) -> bool:
        # Its owner was cut off for longer than anybody waits for it, and comes back now.
        video = await client.submit(clip(), None, "the owner's")
        await Attempt(owners, folder, client, disk).accept(video, adopted=False)
        return await reserve(ledger, folder, mine)

    monkeypatch.setattr(Ledger, "reserve", late)
    job = await go(client, disk)

    assert (job.attempt, server.posts()) == (1, 1)
    assert (await disk.state(folder)).is_on_its_way
