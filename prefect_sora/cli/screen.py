"""Screen: results on stdout, everything else on stderr, errors as one paragraph."""

import json
import logging
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.segment import Segment

from prefect_sora.cli import exits, redaction
from prefect_sora.cli.options import Shown
from prefect_sora.cli.signals import STOPPED, InterruptedBySignal, nothing_was_sent
from prefect_sora.errors import SoraError
from prefect_sora.errors.next_steps import in_words
from prefect_sora.errors.shown import escaped, visible

if TYPE_CHECKING:
    from prefect_sora.handles import StoredImage, StoredVideo

_PLACES: Final = ("folder", "path", "kept")
"""Fields of documents that name a place, besides those that end in `url`."""


class Screen:
    """What a person sees of a command, or a script reads.

    Args:
        shown: What is shown.
        pays: Whether the command can cost anything: else nothing is said of money that was not
            paid.
    """

    def __init__(self, shown: Shown, *, pays: bool = True) -> None:
        self.shown, self.pays = shown, pays
        self.out = _console(sys.stdout.isatty())
        self.err = _console(sys.stderr.isatty(), stderr=True)
        self._warned: set[str] = set()

    @property
    def is_live(self) -> bool:
        """Whether a progress bar can move here."""
        return self.err.is_terminal and not self.shown.quiet

    def note(self, text: str, style: str | None = None) -> None:
        """Say what happens, except with --quiet."""
        if not self.shown.quiet:
            self.err.print(redaction.safe(text), style=style, markup=False)

    def warn(self, text: str) -> None:
        """Warn of something doubtful, once."""
        if text not in self._warned:
            self._warned.add(text)
            self.note(f"! {text}", style="yellow")

    def result(self, text: str, style: str | None = None) -> None:
        """Print a result; with --json, the document holds it instead."""
        self._printed(redaction.safe(text), style)

    def file(self, url: str, size_bytes: int | None = None, *, doubtful: bool = False) -> None:
        """Print where a kept file is, as it is: programs read it."""
        mark, style = ("!", "yellow") if doubtful else ("✓", "green")
        if self.shown.quiet:
            self._printed(place(url))
        elif size_bytes is None:
            self._printed(f"  {place(url)}")
        else:
            self._printed(f"{mark} {place(url)}  {size_of(size_bytes)}", style)

    def _printed(self, text: str, style: str | None = None) -> None:
        if not self.shown.json:
            # A path stays in one piece; the terminal breaks a line that is too long.
            self.out.print(text, style=style, markup=False, soft_wrap=True)

    def announce(self, title: str, **told: str) -> None:
        """Announce what begins: its title, and a line for each word below."""
        self.note(title, style="bold")
        for name, value in told.items():
            self.note(f"  {name:<5} {value}")

    def kept(self, video: "StoredVideo", *, already: bool = False) -> None:
        """Tell where a kept video is and what it is, the path first.

        Args:
            video: What is kept.
            already: Whether it was, before this command: so nothing was sent.
        """
        length = f" · {video.duration_seconds:.2f} s" if video.duration_seconds else ""
        cost = costs(video.cost_usd, video.actual_usd)
        day = f"{datetime.fromtimestamp(video.created_at, UTC):%Y-%m-%d}"
        now = f"kept already; nothing was sent or paid now ({cost} on {day})"
        self.file(video.url, video.size_bytes, doubtful=bool(video.differences))
        if self.shown.quiet:
            return
        if video.differences:
            self.result(f"  not as asked: {', '.join(video.differences)}", style="yellow")
        self.result(
            f"  {video.width}x{video.height}{length} · made by {video.provider} · "
            + (now if already else f"cost {cost}")
        )
        if video.cost_doubt:
            self.result(f"  not believed of the cost: {video.cost_doubt}", style="yellow")
        self.result(f"  video {video.video_id} · render {video.key}")

    def kept_pictures(self, image: "StoredImage") -> None:
        """Tell where kept pictures are and what they are, each path in a line of its own."""
        for url, file in zip(image.urls, image.files, strict=True):
            self.file(url, file.size_bytes)
        if self.shown.quiet:
            return
        clear = " · transparent" if image.has_alpha else ""
        shape = f"{image.width}x{image.height} {image.format}{clear}"
        cost = costs(image.cost_usd, image.actual_usd)
        self.result(f"  {shape} · made by {image.provider} · cost {cost}")
        self.result(f"  render {image.key}")

    def document(self, value: Any) -> None:
        """Print the one JSON document of --json."""
        if self.shown.json:
            text = escaped(json.dumps(_safe(value), indent=2, ensure_ascii=False))
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    def trouble(self, error: BaseException, *, skipped: bool = False) -> None:
        """Print an error, as one paragraph."""
        if self.shown.debug and not isinstance(error, InterruptedBySignal):
            text = "".join(traceback.format_exception(error))
            self.err.print(redaction.safe(text), style="dim", markup=False, soft_wrap=True)
        mark, style = ("-", "yellow") if skipped else ("✗", "red")
        text = redaction.safe(self._paragraph(error))
        self.err.print(f"{mark} {text}", style=style, markup=False)
        if self.err.is_terminal and isinstance(error, SoraError):
            # A paragraph is broken into lines; what people paste has a line to itself.
            for command in filter(None, (step.command for step in error.steps)):
                self.err.print(redaction.safe(f"  $ {command}"), markup=False, soft_wrap=True)

    def _paragraph(self, error: BaseException) -> str:
        if isinstance(error, SoraError):
            return error.told("terminal", pays=self.pays)
        if isinstance(error, KeyboardInterrupt) or str(error) == STOPPED:
            return f"{STOPPED} Nothing was sent." if nothing_was_sent() else STOPPED
        if isinstance(error, InterruptedBySignal):
            return str(error)
        said = " ".join(str(error).split())
        return f"{type(error).__name__}: {said} (run with --debug for the traceback)"

    def failure(self, error: BaseException) -> int:
        """Print the error that ends the command, and return its exit code."""
        self.trouble(error)
        self.document({"error": describe(error)})
        return exits.exit_code(error)


def _safe(value: Any, name: str = "") -> Any:
    """The document without secrets; what names a place is as it is: programs open it."""
    if isinstance(value, dict):
        return {key: _safe(each, str(key)) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_safe(each, name) for each in value]
    is_place = name.endswith(("url", "urls")) or name in _PLACES
    return redaction.safe(value) if isinstance(value, str) and not is_place else value


def describe(error: BaseException) -> dict[str, Any]:
    """An error as JSON."""
    ours = error if isinstance(error, SoraError) else None
    return {
        "type": type(error).__name__,
        "message": redaction.safe(ours.message if ours else str(error) or type(error).__name__),
        "video_id": ours.video_id if ours else None,
        "key": ours.key if ours else None,
        "paid": ours.paid if ours else "unknown",
        "next_step": in_words(ours.steps, "terminal") if ours else None,
        "exit_code": exits.exit_code(error),
    }


class _Console(Console):
    """A console whose text is only read: what a terminal would obey is replaced in all of it."""

    def render(self, *what: Any, **how: Any) -> Iterator[Segment]:
        """Make what is written; the console's own colours and moves are no text."""
        for segment in super().render(*what, **how):
            yield segment if segment.control else segment._replace(text=visible(segment.text))


def _console(is_terminal: bool, **more: Any) -> Console:
    """Make a console; a path in a pipe is never broken, and a table never cut."""
    if is_terminal:
        return _Console(highlight=False, **more)
    return _Console(highlight=False, soft_wrap=True, width=240, **more)


def usd(cost: float | None) -> str:
    """Write a cost; one that is not known is never written as 0."""
    from prefect_sora.servers.video_prices import dollars

    return dollars(cost)


def agrees(question: str) -> bool | None:
    """Ask a person on a terminal; None where nobody is there to be asked."""
    if not sys.stdin.isatty():
        return None
    sys.stderr.write(visible(f"{question} [y/N] "))
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def costs(estimate_usd: float | None, actual_usd: float | None) -> str:
    """Write an estimate, and beside it what the server says, where it says that."""
    from prefect_sora.servers.video_prices import side_by_side

    return side_by_side(estimate_usd, actual_usd)


def size_of(size_bytes: int) -> str:
    """Write a file's size."""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e5 else f"{size_bytes / 1e3:.1f} kB"


def place(url: str) -> str:
    """Write where a file is: a plain path where it is on this machine."""
    from prefect_sora.store.backends.filesystems import on_disk

    return on_disk(url) or url


def show_our_log(screen: Screen) -> None:
    """Show this package's warnings on the same screen, between the lines of a progress bar."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            screen.warn(record.getMessage())

    redaction.guard_logs()
    log = logging.getLogger("prefect_sora")
    log.addHandler(Lines(logging.INFO if screen.shown.debug else logging.WARNING))
    if screen.shown.debug:
        log.setLevel(logging.INFO)
    log.propagate = False
