"""Progress: a bar that moves on a terminal, plain lines anywhere else."""

from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from prefect_sora.cli.screen import Screen
from prefect_sora.handles import StoredVideo, VideoJob
from prefect_sora.renders.batches.counts import Counts
from prefect_sora.servers.protocol.video_object import Video
from prefect_sora.store.records import RenderState
from prefect_sora.tasks.listener import Listener

_PLAIN_STEP: Final = 25.0
"""Plain lines tell progress in steps of so many percent."""


class Display(Listener):
    """Shows where renders are, between `with` and its end."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._rows: dict[str, TaskID] = {}
        self._told: dict[str, tuple[str, float]] = {}
        self._phase: TaskID | None = None
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[percent]}", style="cyan"),
            TimeElapsedColumn(),
            console=screen.err,
            transient=True,
            disable=not screen.is_live,
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def phase(self, name: str) -> None:
        """Show what is being done before a server has a job."""
        if not self._screen.is_live:
            self._screen.note(f"{name} …")
        elif self._phase is None:
            self._phase = self._bars.add_task(name, total=None, percent="")
        else:
            self._bars.update(self._phase, description=name)

    def submitted(self, job: VideoJob) -> None:
        """A server has the job."""
        if job.stored:
            self._plain(f"render {job.key} is in the store already; nothing is sent")
        else:
            how = "found again at" if job.adopted else "accepted by"
            self._plain(f"{how} {job.provider}: video {job.video_id} · render {job.key}")
        self._row(job.key, job.title, "queued", 0.0)

    def progressed(self, job: VideoJob, video: Video) -> None:
        """The server said something new."""
        self._show(job.key, job.title, video)

    def follower(self, state: RenderState) -> Callable[[Video], None]:
        """Return what shows the progress of a resumed render."""

        def follow(video: Video) -> None:
            title = str(state.reserved.request.get("prompt")) if state.reserved else state.folder
            self._show(state.key, title, video)

        return follow

    def counted(self, counts: Counts) -> None:
        """A batch has made progress."""

    def stitching(self, title: str, shots: int) -> None:
        """A film's shots are there."""
        self.phase(f"joining {shots} shots")

    def kept(self, video: StoredVideo) -> None:
        """The video is in the store."""
        if (row := self._rows.pop(video.key, None)) is not None:
            self._bars.remove_task(row)

    def _show(self, key: str, title: str, video: Video) -> None:
        title = _short(title)
        percent = min(max(video.progress or 0.0, 0.0), 100.0)
        if video.status == "completed":
            what, percent = "keeping", 100.0
        else:
            what = "rendering" if video.status == "in_progress" else video.raw_status or "waiting"
        before, told = self._told.get(key, ("", 0.0))
        if what != before or percent >= told + _PLAIN_STEP:
            self._told[key] = (what, percent)
            about = " about" if video.is_estimate else ""
            share = f"{about} {percent:.0f} %" if what == "rendering" else ""
            self._plain(f"{what}{share}: {title}")
        self._row(key, title, what, percent)

    def _plain(self, line: str) -> None:
        if not self._screen.is_live:
            self._screen.note(line)

    def _end_phase(self) -> None:
        if self._phase is not None:
            self._bars.remove_task(self._phase)
            self._phase = None

    def _row(self, key: str, title: str, what: str, percent: float) -> None:
        self._end_phase()
        if key not in self._rows:
            self._rows[key] = self._bars.add_task("", total=100, percent="")
        self._bars.update(
            self._rows[key],
            completed=percent,
            description=f"{what:<10} {_short(title)}",
            percent=f"{percent:3.0f} %",
        )


class BatchDisplay(Display):
    """Shows how far a batch is, in one bar, and nothing about single renders."""

    _counts: TaskID | None = None
    _tenths = -1

    def submitted(self, job: VideoJob) -> None:
        """Say nothing."""

    def progressed(self, job: VideoJob, video: Video) -> None:
        """Say nothing."""

    def kept(self, video: StoredVideo) -> None:
        """Say nothing."""

    def counted(self, counts: Counts) -> None:
        """Move the bar; without a bar, say each tenth."""
        done = counts.kept + counts.failed
        self._end_phase()
        if self._counts is None:
            self._counts = self._bars.add_task("", total=counts.total, percent="")
        percent = 100 * done / max(counts.total, 1)
        self._bars.update(
            self._counts,
            completed=done,
            description=str(counts),
            percent=f"{percent:3.0f} %",
        )
        if percent // 10 > self._tenths:
            self._tenths = int(percent // 10)
            self._plain(str(counts))


def _short(title: str) -> str:
    line = " ".join(title.split())
    return line if len(line) <= 36 else f"{line[:35]}…"
