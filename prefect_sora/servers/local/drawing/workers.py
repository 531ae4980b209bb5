"""Workers: queued jobs are rendered in threads, the oldest first, and their end is recorded."""

import asyncio
import logging
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event
from time import monotonic

from prefect_sora.servers.local.launch.options import RendererOptions
from prefect_sora.servers.local.state.characters import portrait_path
from prefect_sora.servers.local.state.files import publish
from prefect_sora.servers.local.state.jobs import Job, Jobs

log = logging.getLogger(__name__)

FAILURES = {
    "fail": {"code": "render_failed", "message": "The video could not be rendered (scripted)."},
    "moderate": {
        "code": "moderation_blocked",
        "message": "Your request was blocked by our moderation system (scripted).",
    },
}
_STALLED_AT = 40


class Cancelled(Exception):  # noqa: N818 - a way out of a drawing loop, not an error
    """The job was deleted, or the process ends."""


@dataclass
class Workers:
    """Render up to `options.parallel` jobs at once, the oldest first.

    Attributes:
        ended: Hears of each job that has ended.
        rendering: What is being drawn, and how to stop it.
    """

    jobs: Jobs
    options: RendererOptions
    ended: Callable[[Job], object] | None = None
    rendering: dict[str, Event] = field(default_factory=dict)
    _closing: bool = False

    async def run(self) -> None:
        """Work until cancelled; what is unfinished then is queued at the next start."""
        count = max(1, self.options.parallel)
        with ThreadPoolExecutor(count, thread_name_prefix="render") as threads:
            try:
                while True:
                    await self.jobs.waiting.wait()
                    self.jobs.waiting.clear()
                    self._start_more(threads, count)
            finally:
                self._closing = True
                for stop in self.rendering.values():
                    stop.set()

    def cancel(self, job: Job) -> None:
        """Stop drawing a job that nobody wants any more."""
        stop = self.rendering.get(job.id)
        if stop is not None:
            stop.set()

    def _start_more(self, threads: ThreadPoolExecutor, count: int) -> None:
        while len(self.rendering) < count and (job := self.jobs.next_queued()):
            job.status = "in_progress"
            if job.fate == "stall":
                job.progress = _STALLED_AT
                continue
            stop = self.rendering[job.id] = Event()
            task = asyncio.get_running_loop().run_in_executor(
                threads, self._render, job, stop, monotonic()
            )
            _keep(asyncio.create_task(self._see_through(job, task)))

    async def _see_through(self, job: Job, task: "asyncio.Future[dict[str, str] | None]") -> None:
        try:
            await self.jobs.finish(job, await task)
            if self.ended and self.jobs.get(job.id):
                self.ended(job)
        except Cancelled:
            pass
        except Exception:  # the disk may refuse the record: the next start tries again
            log.exception("job %s has no record of its end", job.id)
        finally:
            self.rendering.pop(job.id, None)
            self.jobs.waiting.set()

    def _render(self, job: Job, stop: Event, started: float) -> dict[str, str] | None:
        """Draw one job in a thread; return the error it ends with, if any."""
        final = self.jobs.files_of(job)
        pace = self.options.pace_seconds(job.seconds)

        def advance(share: float) -> None:
            ahead = started + pace * share - monotonic()
            if stop.wait(ahead) if ahead > 0 else stop.is_set():
                raise Cancelled
            job.progress = max(job.progress, min(99, int(share * 100)))

        if job.fate in FAILURES:
            advance(0.5)
            return FAILURES[job.fate]
        if final.is_dir():  # published by a process that died before it could say so
            return None
        part = self.jobs.drawing_of(job)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            from prefect_sora.servers.local.drawing.video import render

            cast = [(c["name"], portrait_path(self.jobs.home, c["id"])) for c in job.characters]
            source = self.jobs.input_of(job) if job.source else None
            render(job, source, part, advance, cast)
            advance(1.0)
            publish(part, final)
        except Cancelled:
            raise
        except Exception as error:
            if stop.is_set():  # its input went with it
                raise Cancelled from None
            log.exception("job %s failed", job.id)
            return {"code": "render_failed", "message": f"The local renderer failed: {error}"}
        finally:
            shutil.rmtree(part, ignore_errors=True)
        if stop.is_set() and not self._closing:  # deleted while its files took their name
            shutil.rmtree(final, ignore_errors=True)
            raise Cancelled
        return None


_tasks: set[asyncio.Task[None]] = set()


def _keep(task: asyncio.Task[None]) -> None:
    """Hold a task, of which the event loop keeps no strong reference."""
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
