"""Tasks: one per step, small handles in and out, and the records decide what is sent.

Prefect's cache is off on all tasks: it fails open, and the ledger is the one source of
truth on what was paid. Retrying any task is therefore safe.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, Unpack

from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from prefect_sora.blocks import VideoStore, store_of
from prefect_sora.errors import RenderFailedError, SoraError
from prefect_sora.handles import RenderedVideo, StoredVideo, VideoJob
from prefect_sora.renders.fallback import on_the_first, pass_on_failed
from prefect_sora.renders.finish import downloads
from prefect_sora.renders.finish import keep as keeping
from prefect_sora.renders.finish import wait as rendering
from prefect_sora.renders.finish.as_asked import held_to
from prefect_sora.renders.finish.cancel import OnCancel
from prefect_sora.renders.finish.options import WaitOptions
from prefect_sora.renders.finish.polling import OnProgress
from prefect_sora.renders.finish.stills import Variant
from prefect_sora.renders.submit.options import RenderOptions
from prefect_sora.renders.submit.submit import AskedVideo
from prefect_sora.requests.video import VideoRequest
from prefect_sora.tasks import artifacts
from prefect_sora.tasks.calling import task
from prefect_sora.tasks.flow_runs import by_a_person, task_named
from prefect_sora.tasks.parameters import (
    RenderParameters,
    SubmitParameters,
    options_of,
    spelled_out,
)
from prefect_sora.tasks.providers import Providers, client_of, listed, of_label, ways_to


async def worth_retrying(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether to retry, by the error's type: never moderation, bad requests, keys or quota."""
    error = await state.aresult(raise_on_failure=False)
    return error.retryable if isinstance(error, SoraError) else False


ONCE: Final[Any] = {"cache_policy": NO_CACHE, "persist_result": False, "retries": 0}
"""For tasks that may pay: whether sending again is safe is known inside, where the records are."""

AGAIN: Final[Any] = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retries": 3,
    "retry_delay_seconds": [2.0, 10.0, 30.0],
    "retry_condition_fn": worth_retrying,
}
"""For tasks that pay for nothing, or find what was paid."""


@task(name="submit-video", task_run_name=task_named("submit", "request"), **ONCE)
@spelled_out
async def submit_video(
    request: VideoRequest,
    provider: Providers,
    store: VideoStore | str | Path,
    *,
    parent_key: str | None = None,
    reference_options: Mapping[str, Any] | None = None,
    **how: Unpack[SubmitParameters],
) -> VideoJob:
    """Have a render accepted, once: the same request in the same scope is the same job.

    Args:
        request: What to render.
        provider: Who renders it. Of a list the first; the next only where the one before
            has certainly not accepted it, and never after moderation.
        store: Where its records, and later its video, are kept.
        parent_key: The render that this one starts from.
        reference_options: fsspec options for the reference image's URL; one in the store
            is opened with the store's.
        how: `scope`: whom the render is shared with; the root flow run where it is None.
            `timeout_seconds`: how long a server may put us off; None: as for `wait_for_video`.
            `in_doubt`: whether to stop or to pay again where nobody can tell if it was accepted.
            `max_cost_usd`: what all renders of this scope may cost, in USD; the store's daily
            budget holds besides.

    Raises:
        SoraError: See `prefect_sora.renders.submit.submit.submit`; each says what was paid.
    """
    block = store_of(store)
    options = await options_of(how, block)
    asked = AskedVideo(request, block.ledger, options, parent_key, reference_options)
    job = await on_the_first(await ways_to(provider), asked)
    artifacts.submitted(job, block.ledger)
    return job


@task(name="wait-for-video", task_run_name=task_named("wait", "job"), **AGAIN)
async def wait_for_video(
    job: VideoJob,
    provider: Providers,
    store: VideoStore | str | Path,
    *,
    timeout_seconds: float | None = None,
    poll_interval_seconds: float = 5.0,
    max_poll_attempts: int | None = None,
    stall_seconds: float | None = None,
    on_cancel: OnCancel = "leave",
    on_progress: OnProgress | None = None,
) -> RenderedVideo:
    """Wait for a job; all that wait for one server in one process share their requests.

    Args:
        job: From `submit_video` or `remix_video`.
        provider: Who renders it; of a list, the one that accepted it.
        store: Where its records are.
        timeout_seconds: The deadline; past it the job is still resumable. None: 600 s, and
            more for longer, larger or `pro` clips (`prefect_sora.renders.finish.options`).
        poll_interval_seconds: Shortest pause between two requests.
        max_poll_attempts: Another way to say the deadline, in polls; the sooner of the two ends it.
        stall_seconds: How long status and progress may stay as they are, in a queue
            too, before the wait ends; the job is still resumable.
        on_cancel: `leave`: whatever ends the run, the job goes on for the next. `delete`: where
            somebody cancels the run at Prefect, a job that it has submitted, and that is not
            finished, is deleted for all who wait for it, if the server stops by that.
        on_progress: Called with the server's Video at each change, plain or async.

    Raises:
        SoraError: See `prefect_sora.renders.finish.wait.wait`.
    """
    options = WaitOptions(
        timeout_seconds=timeout_seconds,
        poll_interval_seconds=poll_interval_seconds,
        max_poll_attempts=max_poll_attempts,
        stall_seconds=stall_seconds,
        on_cancel=on_cancel,
    )
    client, ledger = await client_of(job, provider), store_of(store).ledger
    async with (
        artifacts.told_if_cancelled([job], ledger),
        artifacts.progress_of(job, on_progress) as tell,
    ):
        return await rendering.wait(
            job, client, ledger, options, by_person=by_a_person, on_progress=tell
        )


@task(name="persist-video", task_run_name=task_named("persist", "video"), **AGAIN)
async def persist_video(
    video: RenderedVideo,
    provider: Providers,
    store: VideoStore | str | Path,
    *,
    strict: bool = False,
) -> StoredVideo:
    """Stream a finished video into the store, check it, record it, and show it in the UI.

    Args:
        video: From `wait_for_video`.
        provider: Who holds it; of a list, the one that made it.
        store: Where to keep it.
        strict: Fail, once it is kept, where it has another size or length than was asked for.

    Raises:
        NotAsAskedError: It is another than was asked for, and `strict`; it is kept.
        SoraError: See `prefect_sora.renders.finish.keep.keep`; the job stays resumable.
    """
    block = store_of(store)
    async with artifacts.told_if_cancelled([video], block.ledger):
        stored = await keeping.keep(video, await client_of(video, provider), block.ledger)
    await artifacts.show(stored, block.folder)
    return held_to(strict, stored)


@task(name="download-video", task_run_name=task_named("download", "video"), **AGAIN)
async def download_video(
    video: VideoJob | StoredVideo | str,
    provider: Providers,
    path: str | Path,
    variant: Variant = "video",
    *,
    store: VideoStore | str | Path | None = None,
) -> Path:
    """Bring a finished video, or a still of it, to a file on this machine, whole or not at all.

    What a store has kept is copied from there, and the server is asked nothing.

    Args:
        video: A handle, such as `wait_for_video` or a flow returns, the server's id of a video,
            or, with `store`, a render's key.
        provider: Who holds it; of a list, the one that made it.
        path: The file to write; one that is there is replaced. A still gets the suffix
            that its content has.
        variant: `video`, `thumbnail` or `spritesheet`; a still that is not there is drawn from
            the video.
        store: Where it may be kept; a `StoredVideo` says so itself.

    Raises:
        DownloadError: It could not be fetched; the server still has it, unless it
            is a `VideoExpiredError`.
        StorageError: The path cannot be written.
    """
    made_by = "" if isinstance(video, str) else video.provider
    holder = await of_label(made_by, provider) if made_by else (await listed(provider))[0]
    ledger = store_of(store).ledger if store is not None else None
    return await downloads.download(video, holder, Path(path), variant, ledger)


@dataclass(frozen=True)
class TaskSteps:
    """The steps of a render as task runs, each with its line in the run's timeline.

    Attributes:
        provider: Who renders; of several, the preferred first.
        store: Where the videos and their records are kept.
        options: How the renders are shared, waited for and paid.
        parent_key: The render that they start from.
        on_progress: Hears of each change at the server.
    """

    provider: Providers
    store: VideoStore | str | Path
    options: RenderOptions
    parent_key: str | None = None
    on_progress: OnProgress | None = None

    @classmethod
    async def of(
        cls, provider: Providers, store: VideoStore | str | Path, given: RenderParameters
    ) -> Self:
        """Make the steps from a flow's parameters."""
        options = await options_of(given, store_of(store))
        return cls(provider, store, options, on_progress=given.get("on_progress"))

    @property
    def submitting(self) -> SubmitParameters:
        """The options as the parameters of a task that submits."""
        options = self.options
        return {
            "scope": options.scope,
            "timeout_seconds": options.timeout_seconds,
            "in_doubt": options.in_doubt,
            "max_cost_usd": options.budget.run_usd if options.budget else None,
        }

    async def submit(self, request: VideoRequest) -> VideoJob:
        """Run `submit_video`."""
        return await submit_video(
            request, self.provider, self.store, parent_key=self.parent_key, **self.submitting
        )

    async def wait(self, job: VideoJob) -> RenderedVideo:
        """Run `wait_for_video`."""
        options = self.options
        return await wait_for_video(
            job,
            self.provider,
            self.store,
            timeout_seconds=options.timeout_seconds,
            poll_interval_seconds=options.poll_interval_seconds,
            max_poll_attempts=options.max_poll_attempts,
            stall_seconds=options.stall_seconds,
            on_cancel=options.on_cancel,
            on_progress=self.on_progress,
        )

    async def keep(self, video: RenderedVideo) -> StoredVideo:
        """Run `persist_video`."""
        return await persist_video(video, self.provider, self.store, strict=self.options.strict)

    async def pass_on(self, job: VideoJob, error: RenderFailedError) -> None:
        """Pass a failed job on to the next provider of the list."""
        last = (await (await listed(self.provider))[-1].describe()).label
        await pass_on_failed(error, job, last, store_of(self.store).ledger)
        artifacts.logger().warning("Passed on to the next provider: %s", error.message)
