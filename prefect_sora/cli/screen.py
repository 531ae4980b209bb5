"""Screen: results on stdout, everything else on stderr, errors as one paragraph."""

import json
import logging
import sys
import traceback
from typing import Any

from rich.console import Console

from prefect_sora.cli import exits, redaction
from prefect_sora.cli.options import Shown
from prefect_sora.cli.signals import InterruptedBySignal
from prefect_sora.errors import SoraError
from prefect_sora.errors.next_steps import in_words
from prefect_sora.handles import StoredImage, StoredVideo


class Screen:
    """What a person sees of a command, or a script reads."""

    def __init__(self, shown: Shown) -> None:
        self.shown = shown
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
        if not self.shown.json:
            # A path stays in one piece; the terminal breaks a line that is too long.
            self.out.print(redaction.safe(text), style=style, markup=False, soft_wrap=True)

    def announce(self, title: str, **told: str) -> None:
        """Announce what begins: its title, and a line for each word below."""
        self.note(title, style="bold")
        for name, value in told.items():
            self.note(f"  {name:<5} {value}")

    def kept(self, video: StoredVideo) -> None:
        """Tell where a kept video is and what it is, the path first."""
        length = f" · {video.duration_seconds:.2f} s" if video.duration_seconds else ""
        cost = usd(video.cost_usd)
        mark, style = ("!", "yellow") if video.differences else ("✓", "green")
        self.result(f"{mark} {place(video.url)}  {size_of(video.size_bytes)}", style=style)
        if video.differences:
            self.result(f"  not as asked: {', '.join(video.differences)}", style=style)
        self.result(
            f"  {video.width}x{video.height}{length} · made by {video.provider} · cost {cost}"
        )
        self.result(f"  video {video.video_id} · render {video.key}")

    def document(self, value: Any) -> None:
        """Print the one JSON document of --json."""
        if self.shown.json:
            text = json.dumps(value, indent=2, ensure_ascii=False)
            sys.stdout.write(redaction.safe(text) + "\n")
            sys.stdout.flush()

    def trouble(self, error: BaseException, *, skipped: bool = False) -> None:
        """Print an error, as one paragraph."""
        if self.shown.debug and not isinstance(error, InterruptedBySignal):
            text = "".join(traceback.format_exception(error))
            self.err.print(redaction.safe(text), style="dim", markup=False, soft_wrap=True)
        mark, style = ("-", "yellow") if skipped else ("✗", "red")
        text = redaction.safe(_paragraph(error))
        self.err.print(f"{mark} {text}", style=style, markup=False)
        if self.err.is_terminal and isinstance(error, SoraError):
            # A paragraph is broken into lines; what people paste has a line to itself.
            for command in filter(None, (step.command for step in error.steps)):
                self.err.print(redaction.safe(f"  $ {command}"), markup=False, soft_wrap=True)

    def failure(self, error: BaseException) -> int:
        """Print the error that ends the command, and return its exit code."""
        self.trouble(error)
        self.document({"error": describe(error)})
        return exits.exit_code(error)


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


def _console(is_terminal: bool, **more: Any) -> Console:
    """Make a console; a path in a pipe is never broken, and a table never cut."""
    if is_terminal:
        return Console(highlight=False, **more)
    return Console(highlight=False, soft_wrap=True, width=240, **more)


def usd(cost: float | None) -> str:
    """Write a cost; one that is not known is never written as 0."""
    from prefect_sora.servers.video_prices import dollars

    return dollars(cost)


def size_of(size_bytes: int) -> str:
    """Write a file's size."""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e5 else f"{size_bytes / 1e3:.1f} kB"


def place(url: str) -> str:
    """Write where a file is: a plain path where it is on this machine."""
    from prefect_sora.store.backends.filesystems import local_path, scheme_of

    return local_path(url) if scheme_of(url) in {"file", "local"} else url


def image_lines(image: StoredImage) -> list[str]:
    """Tell where kept pictures are and what they are, each path in a line of its own."""
    sizes = zip(image.urls, image.files, strict=True)
    paths = [f"✓ {place(url)}  {size_of(file.size_bytes)}" for url, file in sizes]
    clear = " · transparent" if image.has_alpha else ""
    by = f"made by {image.provider}"
    shape = f"{image.width}x{image.height} {image.format}{clear}"
    return [
        *paths,
        f"  {shape} · {by} · cost {usd(image.cost_usd)}",
        f"  render {image.key}",
    ]


def _paragraph(error: BaseException) -> str:
    if isinstance(error, SoraError):
        return error.told("terminal")
    if isinstance(error, InterruptedBySignal):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "Stopped."
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said} (run with --debug for the traceback)"


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
