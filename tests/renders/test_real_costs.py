"""Real costs: what a server says that a render cost stands beside the estimate, and settles it."""

import asyncio
import base64
import io
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from prefect_sora.errors import BudgetExceededError, RenderFailedError, StorageError
from prefect_sora.handles import StoredVideo
from prefect_sora.renders.film.keep import keep_film
from prefect_sora.renders.film.shots import Filming
from prefect_sora.renders.finish.keep import keep
from prefect_sora.renders.finish.wait import wait
from prefect_sora.renders.images.prepare import identify as identify_picture
from prefect_sora.renders.images.submit import draw
from prefect_sora.renders.inventory.costs import store_costs
from prefect_sora.renders.inventory.inventory import iterate_store
from prefect_sora.renders.recovery.sweep import sweep
from prefect_sora.renders.run import PlainSteps
from prefect_sora.renders.submit.options import Budget, RenderOptions
from prefect_sora.requests.image import ImageRequest
from prefect_sora.requests.storyboard import Storyboard
from prefect_sora.servers.local.launch.options import DialectName
from prefect_sora.servers.profiles import PROFILES
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import remote
from prefect_sora.servers.video_prices import read_prices
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.spending_chain import chain_of
from prefect_sora.store.spending_entries import Before, Charge
from tests.renders.test_budgets import spent
from tests.support.billing import BILLED, Billing
from tests.support.limits import Limit
from tests.support.renderer import SpeakDialect
from tests.support.renders import clip, go, left_in_doubt, render
from tests.support.scripted import QUICK, Reply, Script

TEN_CENTS = read_prices({"*": 0.10})
BUDGET = Budget(run_usd=1.0, daily_usd=1.0)


@pytest.fixture
def billed(scripted: Script) -> Callable[..., VideoClient]:
    """Give a client of a server that says what its jobs cost; a second is estimated at 0.10 USD."""

    def client(cost: object, status: str = "completed", **usage: object) -> VideoClient:
        return scripted(Billing(cost, status, **usage), BILLED, prices=TEN_CENTS)[1]

    return client


Billed = Callable[..., VideoClient]


async def kept(client: VideoClient, ledger: Ledger, take: int = 1, **options: Any) -> StoredVideo:
    options = {"budget": BUDGET, "poll_interval_seconds": 0.05, **options}
    return await render(clip(take=take), client, ledger, "tonight", **options)


@pytest.mark.parametrize("usd", [0.12, 0.07, 0.1, 0.0])
async def test_it_stands_beside_the_estimate_and_takes_its_place_in_the_budgets(
    billed: Billed, ledger: Ledger, usd: float
) -> None:
    video = await kept(billed(usd), ledger)
    assert (video.cost_usd, video.actual_usd, video.cost_doubt) == (0.1, usd, None)
    assert (await spent(ledger, "run-"), await spent(ledger, "day-")) == (usd, usd)
    (entry,) = [one async for one in iterate_store(ledger.store)]
    assert (entry.cost_usd, entry.actual_usd) == (0.1, usd)


async def test_what_cost_more_than_its_estimate_leaves_less_for_the_next(
    billed: Billed, disk: Ledger
) -> None:
    client, budget = billed(0.15), Budget(run_usd=0.2)
    await kept(client, disk, budget=budget)
    with pytest.raises(BudgetExceededError) as caught:
        await kept(client, disk, take=2, budget=budget)
    assert caught.value.spent_usd == 0.15
    cheap = billed(0.01)
    for take in (2, 3):
        await kept(cheap, disk, take, budget=Budget(run_usd=0.27))
    assert await spent(disk, "run-") == 0.17


@pytest.mark.parametrize(
    ("cost", "said"),
    [
        (12, "$12, where $0.1 was estimated: another unit?"),
        (-1, "-1 is no amount from 0 up"),
        ("free", "something that is no amount (str)"),
        (1e12, "more than any clip costs"),
    ],
)
async def test_what_cannot_be_so_settles_nothing_and_is_told(
    billed: Billed, disk: Ledger, caplog: pytest.LogCaptureFixture, cost: object, said: str
) -> None:
    video = await kept(billed(cost), disk)
    assert video.actual_usd is None
    assert said in str(video.cost_doubt)
    assert said in caplog.text
    assert await spent(disk, "run-") == 0.1
    read = await disk.stored(video.folder)
    assert read
    assert read.video == video


@pytest.mark.parametrize(
    ("cost", "paid", "actual", "total"),
    [(None, "unknown", None, 0.1), (0, "no", 0.0, 0.0), (0.04, "yes", 0.04, 0.04)],
)
async def test_a_failed_render_cost_what_the_server_says_else_nobody_knows(
    billed: Billed, disk: Ledger, cost: object, paid: str, actual: float | None, total: float
) -> None:
    with pytest.raises(RenderFailedError) as caught:
        await kept(billed(cost, "failed"), disk)
    assert (caught.value.paid, caught.value.actual_usd) == (paid, actual)
    assert await spent(disk, "run-") == total
    (entry,) = [one async for one in iterate_store(disk.store)]
    (attempt,) = entry.attempts
    assert (attempt.paid, attempt.actual_usd) == (paid, actual if paid != "no" else None)


async def test_a_job_that_another_bills_for_is_neither_free_nor_settled(
    billed: Billed, disk: Ledger
) -> None:
    with pytest.raises(RenderFailedError) as caught:
        await kept(billed(0, "failed", byok=True), disk)
    assert (caught.value.paid, await spent(disk, "run-")) == ("unknown", 0.1)
    assert "another bills for it" in caught.value.message


@pytest.fixture
def settling_fails(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[None]]:
    """Give a block in which the store refuses what settles a charge, as a crash before it would."""
    create = VideoFolder.create

    async def refuses(self: VideoFolder, name: str, data: bytes, **more: Any) -> bool:
        if ".spending/" in name and b'settled_usd": 0.12' in data:
            raise StorageError("The store is away.")
        return await create(self, name, data, **more)

    @contextmanager
    def away() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(VideoFolder, "create", refuses)
            yield

    return away


@pytest.mark.parametrize("status", ["completed", "failed"])
async def test_a_crash_between_the_record_and_the_settling_is_made_good_by_a_sweep(
    billed: Billed,
    disk: Ledger,
    settling_fails: Callable[[], AbstractContextManager[None]],
    status: str,
) -> None:
    client = billed(0.12, status)
    with settling_fails(), suppress(RenderFailedError):
        await kept(client, disk)
    assert await spent(disk, "run-") == 0.1

    async def client_of(_: object) -> VideoClient:
        return client

    for _ in range(2):
        await sweep(disk, client_of)
        assert (await spent(disk, "run-"), await spent(disk, "day-")) == (0.12, 0.12)


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1], ids=["answered", "answer lost"])
async def test_whenever_the_store_goes_away_the_budgets_hold_what_it_really_cost_in_the_end(
    scripted: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: Limit, lost: int
) -> None:
    limit(record_pauses_seconds=(), step_pauses_seconds=())
    writes, ended = 0, False
    while not ended:
        writes += 1
        server = Billing(0.12)
        server.lose = lost
        _, client = scripted(server, BILLED, prices=TEN_CENTS)
        disk = Ledger(VideoFolder(str(tmp_path / f"away-{writes}")))
        with monkeypatch.context() as patch:
            left = _goes_away(patch, after=writes)
            with suppress(StorageError):
                await kept(client, disk)
            ended = left() > 0
        video = await kept(client, disk)

        async def client_of(_: object, client: VideoClient = client) -> VideoClient:
            return client

        await sweep(disk, client_of)
        assert (video.actual_usd, len(server.jobs)) == (0.12, 1), f"away from write {writes} on"
        spent_usd = (await spent(disk, "run-"), await spent(disk, "day-"))
        assert spent_usd == (0.12, 0.12), f"away from write {writes} on"
    assert writes > 10


def _goes_away(patch: pytest.MonkeyPatch, after: int) -> Callable[[], int]:
    """Let a store refuse all writes after so many; say how many of these were not made."""
    left = after

    def refusing(name: str) -> None:
        original = getattr(VideoFolder, name)

        async def one(self: VideoFolder, *args: Any, **more: Any) -> Any:
            nonlocal left
            if left <= 0:
                raise StorageError("The store is away.")
            left -= 1
            return await original(self, *args, **more)

        patch.setattr(VideoFolder, name, one)

    for name in ("create", "put", "write", "delete"):
        refusing(name)
    return lambda: left


async def test_what_failed_is_settled_before_the_next_attempt_is_charged(
    billed: Billed, disk: Ledger, settling_fails: Callable[[], AbstractContextManager[None]]
) -> None:
    client, budget = billed(0.12, "failed"), Budget(run_usd=0.21)
    with settling_fails(), pytest.raises(RenderFailedError):
        await kept(client, disk, budget=budget)
    with pytest.raises(BudgetExceededError) as caught:
        await kept(client, disk, budget=budget)
    assert caught.value.spent_usd == 0.12


async def test_it_is_settled_once_however_many_settle_it(disk: Ledger) -> None:
    chain = chain_of(disk.store, "run-1")

    async def nothing() -> Before:
        return Before()

    for attempt in (1, 2):
        charge = Charge(key="0" * 12, attempt=attempt, usd=0.1)
        await chain.charge(charge, limit_usd=1, before=nothing)

    async def settled() -> bool:
        """Settle it as another process does, that has read nothing yet."""
        return await chain_of(VideoFolder(disk.store.root), "run-1").settle("0" * 12, 1, 0.15)

    def elsewhere() -> Any:
        return asyncio.to_thread(lambda: asyncio.run(settled()))

    assert await asyncio.gather(*(elsewhere() for _ in range(4))) == [True] * 4
    assert await chain.settle("0" * 12, 1, 0.15)
    await chain.take_back("0" * 12, 1)
    assert not await chain.settle("f" * 12, 1, 0.15), "it was never charged here"
    assert await spent(disk, "run-") == 0.25


async def test_a_charge_that_another_process_made_meanwhile_is_found(disk: Ledger) -> None:
    async def nothing() -> Before:
        return Before()

    here = chain_of(disk.store, "run-1")
    await here.charge(Charge(key="0" * 12, attempt=1, usd=0.1), limit_usd=1, before=nothing)

    async def charged() -> None:
        there = chain_of(VideoFolder(disk.store.root), "run-1")
        await there.charge(Charge(key="f" * 12, attempt=1, usd=0.1), limit_usd=1, before=nothing)

    await asyncio.to_thread(lambda: asyncio.run(charged()))
    assert await here.settle("f" * 12, 1, 0.3)
    assert await spent(disk, "run-") == 0.4


async def test_the_charge_of_a_create_whose_answer_was_lost_is_settled_by_its_job(
    billed: Billed, disk: Ledger
) -> None:
    client = billed(0.12)
    folder = await left_in_doubt(client, disk, clip(), charged_to=("run-1",), limits_usd=(1.0,))
    key = folder[-12:]

    async def nothing() -> Before:
        return Before()

    charge = Charge(key=key, attempt=1, usd=0.1)
    await chain_of(disk.store, "run-1").charge(charge, limit_usd=1, before=nothing)
    state = await disk.state(folder)
    assert state.reserved
    second = state.reserved.again(2, state.reserved.in_doubt_since)
    assert await disk.reserve(folder, second)
    disk.release(second)
    job = await go(client, disk, clip(take=9))
    job = job.model_copy(update={"key": key, "folder": folder, "attempt": 2, "adopted": True})
    await disk.accept(folder, job)
    video = await keep(await wait(job, client, disk), client, disk)
    assert (video.actual_usd, await spent(disk, "run-1")) == (0.12, 0.12)


async def test_a_late_answer_names_the_adopted_job_and_its_charge_is_settled_all_the_same(
    billed: Billed, disk: Ledger
) -> None:
    client = billed(0.12)
    first = await go(client, disk, budget=BUDGET)
    state = await disk.state(first.folder)
    assert state.reserved
    second = state.reserved.again(2, state.reserved.in_doubt_since)
    assert await disk.reserve(first.folder, second)
    disk.release(second)
    job = first.model_copy(update={"attempt": 2, "adopted": True})
    await disk.accept(first.folder, job)
    await keep(await wait(job, client, disk), client, disk)
    assert await spent(disk, "run-") == 0.12
    (entry,) = [one async for one in iterate_store(disk.store)]
    assert (entry.cost_usd, entry.actual_usd) == (0.1, 0.12)


async def test_a_gateways_estimate_on_create_is_kept_and_its_0_is_not(
    scripted: Script, disk: Ledger
) -> None:
    profile = QUICK.model_copy(
        update={"cost_path": "x-litellm-response-cost", "cost_source": "estimate_header"}
    )
    jobs = Billing(None)

    def answer(method: str, path: str, body: bytes) -> Reply:
        reply = jobs(method, path, body)
        if reply is None:
            return None
        cost = next(costs) if method == "POST" else "0.0"
        return reply[0], {**reply[1], "x-litellm-response-cost": cost}, reply[2]

    costs = iter(["0.13", "0.0"])
    _, client = scripted(answer, profile, prices=TEN_CENTS)
    job = await go(client, disk, budget=BUDGET)
    assert (job.actual_usd, await spent(disk, "run-")) == (0.13, 0.1)
    video = await kept(client, disk)
    assert (video.actual_usd, await spent(disk, "run-")) == (0.13, 0.13)
    assert (await kept(client, disk, take=2)).actual_usd is None


async def test_a_new_budget_counts_what_was_really_paid_before_it(
    billed: Billed, disk: Ledger
) -> None:
    client = billed(0.18)
    await kept(client, disk, budget=None)
    with pytest.raises(BudgetExceededError) as caught:
        await kept(client, disk, take=2, budget=Budget(run_usd=0.25))
    assert caught.value.spent_usd == 0.18


async def test_handles_and_records_of_before_are_read_and_stay_small(
    billed: Billed, disk: Ledger
) -> None:
    video = await kept(billed(None), disk)
    written = json.loads((Path(disk.store.root) / video.folder / "stored.json").read_text())
    assert not {"actual_usd", "cost_doubt"} & written["video"].keys()
    assert StoredVideo.model_validate(written["video"]).actual_usd is None


@pytest.mark.parametrize(
    ("dialect", "fields", "actual_usd"),
    [
        ("openrouter", {"model": "local/kite"}, 0.05),
        ("together", {"model": "local/kite"}, 0.05),
        ("xai", {"model": "grok-imagine-video", "size": "480x480"}, 0.05),
        ("litellm", {"model": "sora-2", "allow_unlisted": True}, 0.1),
        ("litellm", {"model": "test"}, None),
    ],
)
async def test_each_dialect_tells_it_as_its_server_does(
    speak: SpeakDialect,
    disk: Ledger,
    dialect: DialectName,
    fields: dict[str, Any],
    actual_usd: float | None,
) -> None:
    profile = PROFILES["litellm-proxy" if dialect == "litellm" else dialect]
    client = VideoClient(
        remote(speak(dialect).base_url, profile=profile, prices=read_prices({"*": 0.06}))
    )
    video = await render(
        clip(**fields), client, disk, "tonight", budget=BUDGET, poll_interval_seconds=0.05
    )
    await client.close()
    assert (video.cost_usd, video.actual_usd, video.cost_doubt) == (0.06, actual_usd, None)
    assert await spent(disk, "run-") == (0.06 if actual_usd is None else actual_usd)


async def test_a_film_adds_up_what_all_takes_really_cost(billed: Billed, disk: Ledger) -> None:
    board = Storyboard.model_validate(
        {
            "title": "Kites",
            "chain": "parallel",
            "model": "wan",
            "size": "64x64",
            "seconds": 1,
            "shots": [{"prompt": "a kite", "takes": 2}, {"prompt": "a boat"}],
        }
    )
    client = billed(0.12)
    steps = PlainSteps.on(client, disk, RenderOptions("tonight", poll_interval_seconds=0.05))

    async def never(_: StoredVideo) -> str:
        raise AssertionError("no shot goes on from another")

    filming = Filming(board, await board.requests(), steps, "tonight", never, asyncio.Semaphore(2))
    cuts = await filming.film()
    film = (await keep_film(board.title, cuts, disk.store, audio=None, **filming.costs())).film
    assert (film.cost_usd, film.actual_usd) == (0.3, 0.36)
    entries = {entry.kind: entry async for entry in iterate_store(disk.store)}
    assert (entries["film"].cost_usd, entries["film"].actual_usd) == (0.3, 0.36)
    assert (await store_costs(disk.store)).total.usd == 0.36, "its clips alone are counted"


async def test_pictures_cost_what_the_header_of_their_answer_says(
    scripted: Script, disk: Ledger
) -> None:
    file = io.BytesIO()
    Image.new("RGB", (32, 32), "teal").save(file, "PNG")
    drawn = {"data": [{"b64_json": base64.b64encode(file.getvalue()).decode()}]}
    headers = {"x-litellm-response-cost": "0.05"}
    profile = QUICK.model_copy(
        update={"cost_path": "x-litellm-response-cost", "cost_source": "estimate_header"}
    )
    prices = read_prices({"painter": 0.04})
    _, client = scripted(lambda *_: (200, headers, drawn), profile, prices=prices)
    request = ImageRequest.of(prompt="a lantern", model="painter", size="32x32")
    prepared = await identify_picture(request, client.server, "tonight")
    image = await draw(prepared, client, disk, RenderOptions("tonight", budget=BUDGET))
    assert (image.cost_usd, image.actual_usd) == (0.04, 0.05)
    assert await spent(disk, "run-") == 0.05
    (entry,) = [one async for one in iterate_store(disk.store)]
    assert (entry.cost_usd, entry.actual_usd) == (0.04, 0.05)
