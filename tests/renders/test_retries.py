"""Retries: the error's type decides whether Prefect runs a step again; money is never at stake."""

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.tasks import Task

from prefect_sora import errors
from prefect_sora.errors import SoraError
from prefect_sora.handles import RenderedVideo
from prefect_sora.tasks import remix, video

AGAIN = {"RateLimitError", "UnavailableError", "DownloadError", "CorruptVideoError", "StorageError"}
"""What passes. Nobody's prompt, key, money or doubt is cured by asking again."""

STEPS: dict[str, Task[..., Any]] = {
    "wait": video.wait_for_video,
    "persist": video.persist_video,
    "download": video.download_video,
}

VIDEO = RenderedVideo(
    key="0123456789ab",
    folder="kite-0123456789ab",
    video_id="video_1",
    provider="test",
    title="a kite",
    submitted_at=1.0,
)


def tree(kind: type[SoraError] = SoraError) -> Iterator[type[SoraError]]:
    """The class and all below it."""
    yield kind
    for below in kind.__subclasses__():
        yield from tree(below)


class Fails:
    """A provider with which each step ends in one error."""

    def __init__(self, error: Exception) -> None:
        self.error, self.asked = error, 0

    async def get_client(self) -> None:
        self.asked += 1
        raise self.error


def step(name: str) -> Task[Any, Any]:
    """A task as it is, but for its pauses."""
    pauseless: Task[Any, Any] = STEPS[name].with_options(retry_delay_seconds=0)
    return pauseless


async def attempts_recorded(task_run_id: UUID, expected: int) -> int:
    """Count them as the Prefect server does, which hears of each a moment later."""
    count = 0
    async with get_client() as api:
        for _ in range(100):
            try:
                count = (await api.read_task_run(task_run_id)).run_count
            except ObjectNotFound:
                count = 0
            if count >= expected:
                break
            await asyncio.sleep(0.1)
    return count


@pytest.mark.slow
@pytest.mark.usefixtures("prefect")
@pytest.mark.parametrize("name", STEPS)
async def test_prefect_runs_a_step_again_where_the_error_passes_and_else_once(
    name: str, tmp_path: Any
) -> None:
    kinds = [kind for kind in tree() if kind.__module__ == errors.__name__]
    kinds = kinds if name == "wait" else [errors.DownloadError, errors.VideoExpiredError]
    further: dict[type[SoraError], dict[str, Any]] = {
        errors.BudgetExceededError: {"budget_usd": 1.0, "spent_usd": 1.0, "asked_usd": 1.0},
        errors.BatchError: {"result": None},
        errors.NotAsAskedError: {"video": None},
    }
    failing = {
        kind.__name__: Fails(
            kind("no", key=VIDEO.key, next_step="Mend it.", **further.get(kind, {}))
        )
        for kind in kinds
    }
    failing["ValueError"] = Fails(ValueError("a defect"))
    third = {"wait": tmp_path, "persist": tmp_path, "download": tmp_path / "kite.mp4"}[name]

    @flow
    async def all_of_them() -> dict[str, UUID]:
        async def one(provider: Fails) -> UUID:
            state = await step(name)(VIDEO, provider, third, return_state=True)
            assert type(await state.aresult(raise_on_failure=False)) is type(provider.error)
            if isinstance(provider.error, SoraError):
                assert VIDEO.key in str(state.message), "in the UI, too"
                assert "Mend it." in str(state.message)
            task_run_id: UUID = state.state_details.task_run_id
            return task_run_id

        ids = await asyncio.gather(*(one(provider) for provider in failing.values()))
        return dict(zip(failing, ids, strict=True))

    ids = await all_of_them()
    expected = {kind: 4 if kind in AGAIN else 1 for kind in failing}
    assert {kind: provider.asked for kind, provider in failing.items()} == expected
    counted = [attempts_recorded(ids[kind], expected[kind]) for kind in failing]
    assert dict(zip(failing, await asyncio.gather(*counted), strict=True)) == expected


def test_what_sends_a_create_is_run_once_for_whether_to_send_again_is_known_inside() -> None:
    sending = (video.submit_video, remix.remix_video, remix.edit_video, remix.extend_video)
    assert [task.retries for task in sending] == [0, 0, 0, 0]
