"""Errors: each of the tree, provoked, by the Python API and as the command line tells it.

A new error needs a row here: how it comes about, its exit code, and what a person is told.
"""

import asyncio
import json
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pytest
from pydantic import SecretStr

from prefect_sora import OpenAICredentials, errors, render_batch, storyboard
from prefect_sora.cli import app, exits
from prefect_sora.cli.commands.making.clip import Order, check
from prefect_sora.cli.saved import NamedStore
from prefect_sora.errors import Paid, SoraError
from prefect_sora.handles import VideoJob
from prefect_sora.renders.environment import named_provider
from prefect_sora.renders.finish.options import WaitOptions
from prefect_sora.renders.recovery.resume import resume
from prefect_sora.renders.submit.options import Budget, RenderOptions
from prefect_sora.renders.submit.prepare import identify
from prefect_sora.renders.submit.submit import submit
from prefect_sora.requests.prompts import written
from prefect_sora.requests.shots import ShotPrompt
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.profiles import read_profile
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import remote
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import SCHEMA
from tests.cli.conftest import Cli, Ended
from tests.support.films import clip
from tests.support.limits import Limit
from tests.support.renders import render
from tests.support.scripted import Answer, Jobs, Reply, Scripted

CANARY = "sk-secret-canary"

NEVER_RAISED = {errors.SoraError, errors.ApiError}
"""Names for what is common to others."""

PAID = {
    "no": "Nothing was paid.",
    "yes": "counts as paid",
    "unknown": "Whether it was paid is not known.",
}


def says(status: int, message: str, code: str | None = None, **headers: str) -> Reply:
    """An error in OpenAI's form, of a server that gives keys away."""
    error = {"message": f"{message} (key {CANARY})", "type": "invalid_request_error", "code": code}
    return status, {name.replace("_", "-"): v for name, v in headers.items()}, {"error": error}


def refusing(reply: Reply, listing: Reply = (200, {}, {"data": []})) -> Answer:
    """A server that answers so to each create."""
    return lambda method, path, body: reply if method == "POST" else listing


def jobs(status: str = "queued", content: Reply = None, job: Reply = None, **echo: Any) -> Answer:
    """A server whose jobs have this status, and whose files answer so."""
    known = Jobs(lose=0, echo={"status": status, **echo})

    def answer(method: str, path: str, body: bytes) -> Reply:
        if path.endswith("/content"):
            return content
        if job is not None and method == "GET" and "?" not in path:
            return job
        return known(method, path, body)

    return answer


@dataclass(frozen=True)
class Row:
    """One error: how it is provoked, and what is told of it.

    Attributes:
        error: Its class.
        code: The command's exit code.
        said: The cause, in the words of whoever knows it.
        paid: What is said of the money.
        next_step: What is said of what to do.
        answer: What the server does; None: nobody is there.
        by: The command: a render from its start, the resuming of one that was accepted, a batch,
             or a storyboard of one shot.
        words: Further words of the command.
        options: The same for the Python API.
        request: What is asked for in place of a tiny clip, by both.
        template: Of a shot that is asked for in place of a text, by both.
        store: Makes of the store what it is to be, with the accepted job, if there is one.
        has_key: Whether there is a render to name yet.
        has_id: Whether there is a video to name.
    """

    error: type[SoraError]
    code: int
    said: str
    paid: Paid
    next_step: str
    answer: Answer | None = None
    by: Literal["render", "resume", "again", "batch", "storyboard"] = "render"
    words: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)
    template: str | None = None
    store: Callable[[Path, VideoJob | None], None] | None = None
    has_key: bool = True
    has_id: bool = False


def in_the_way(store: Path, job: VideoJob | None) -> None:
    store.write_text("a file, not a folder")


def of_a_later_version(store: Path, job: VideoJob | None) -> None:
    assert job
    path = store / job.folder / "accepted.json"
    record = json.loads(path.read_text()) | {"schema_version": SCHEMA + 1}
    path.write_text(json.dumps(record))


def of_another_render(store: Path, job: VideoJob | None) -> None:
    """Let somebody have copied a record from elsewhere."""
    assert job
    record = store / job.folder / "accepted.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"key": "0123456789ab"}))


def undecodable() -> bytes:
    """An MP4 file whose index is sound, and whose pictures are not."""
    with TemporaryDirectory() as folder:
        data = bytearray(clip(Path(folder) / "clip.mp4", (200, 30, 30)).read_bytes())
    media = data.index(b"mdat") + 4
    data[media:] = bytes(len(data) - media)
    return bytes(data)


def tall() -> bytes:
    """A whole clip, of another size than the rows ask for."""
    with TemporaryDirectory() as folder:
        return clip(Path(folder) / "clip.mp4", (200, 30, 30)).read_bytes()


FAILED = {"message": f"CUDA out of memory {CANARY}", "code": "server_error"}
# A job that is not known is believed to be lost after a third of a second, not after minutes.
SOON = {"base": "openai", "lost_after_s": 0.3}
FILM: dict[str, str] = {"Content-Type": "video/mp4"}

ROWS = [
    Row(
        errors.InvalidRequestError,
        2,
        "sora-2 renders 4, 8, 12, 16 or 20 seconds, not 5",
        "no",
        "Choose one of these",
        request={"model": "sora-2", "size": "1280x720", "seconds": 5},
        has_key=False,
    ),
    Row(
        errors.RetiredModelError,
        2,
        "The Videos API was shut down",
        "no",
        "or a server that still renders",
        refusing(says(410, "The Videos API was shut down.")),
    ),
    Row(
        errors.PromptTemplateError,
        2,
        "uses mood, which a shot does not have",
        "no",
        "It has subject",
        template="{{ subject }} {{ mood }}",
        has_key=False,
    ),
    Row(
        errors.ReferenceImageError,
        2,
        "no-such-picture.png",
        "no",
        "",
        request={"reference": "/no-such-picture.png"},
        has_key=False,
    ),
    Row(
        errors.BudgetExceededError,
        3,
        "It would cost $0.40, and ",
        "no",
        "Raise it",
        jobs(),
        words=("--max-cost", "0.3", "--scope", "s"),
        options={"budget": Budget(run_usd=0.3)},
        request={"model": "sora-2", "size": "1280x720", "seconds": 4},
    ),
    Row(
        errors.UnfinishedRenderError,
        5,
        "an unfinished render of the same request",
        "yes",
        "--anew",
        jobs(),
        by="again",
        has_id=True,
    ),
    Row(
        errors.AuthenticationError,
        3,
        "Incorrect API key provided",
        "no",
        "and that it may use this model",
        refusing(says(401, "Incorrect API key provided", "invalid_api_key")),
    ),
    Row(
        errors.QuotaError,
        3,
        "You exceeded your current quota",
        "no",
        "Add credit",
        refusing(says(429, "You exceeded your current quota", "insufficient_quota")),
    ),
    Row(
        errors.RejectedError,
        7,
        "Unknown parameter",
        "no",
        "Change the request as the server says",
        refusing(says(400, "Unknown parameter: 'fps'.", "unknown_parameter")),
    ),
    Row(
        errors.VideoNotFoundError,
        7,
        "No such video",
        "yes",
        "--resubmit",
        jobs(job=says(404, "No such video")),
        by="resume",
        has_id=True,
    ),
    Row(
        errors.RateLimitError,
        7,
        "Too many running tasks",
        "no",
        "Wait, then run the same again",
        refusing(says(429, "Too many running tasks", Retry_After="7200")),
    ),
    Row(errors.UnavailableError, 7, "cannot be reached", "no", "`prefect-sora doctor"),
    Row(
        errors.UncertainSubmitError,
        5,
        "may have been accepted",
        "unknown",
        "--adopt VIDEO_ID",
        refusing(None, listing=says(404, "Not Found")),
    ),
    Row(
        errors.RenderFailedError,
        1,
        "CUDA out of memory",
        "unknown",
        "--resubmit",
        jobs("failed", error=FAILED),
        by="resume",
        has_id=True,
    ),
    Row(
        errors.ModerationError,
        4,
        "blocked by our moderation system",
        "no",
        "Change the prompt or the reference",
        refusing(says(400, "This was blocked by our moderation system", "moderation_blocked")),
    ),
    Row(
        errors.RenderTimeoutError,
        6,
        "Not finished within 0.5 s",
        "yes",
        "wait on without paying again",
        jobs("in_progress", progress=40),
        words=("--timeout", "0.5"),
        options={"timeout_seconds": 0.5},
        has_id=True,
    ),
    Row(
        errors.RenderStalledError,
        6,
        "Nothing has moved for",
        "yes",
        "wait on without paying again",
        jobs("in_progress", progress=40),
        by="resume",
        words=("--stall", "0.3"),
        options={"stall_seconds": 0.3},
        has_id=True,
    ),
    Row(
        errors.DownloadError,
        8,
        "could not be fetched",
        "yes",
        "fetches it again",
        jobs("completed", content=says(500, "disk trouble")),
        by="resume",
        has_id=True,
    ),
    Row(
        errors.VideoExpiredError,
        8,
        "no longer has this video",
        "yes",
        "--resubmit",
        jobs("completed", content=says(410, "Gone")),
        by="resume",
        has_id=True,
    ),
    Row(
        errors.CorruptVideoError,
        8,
        "not an MP4",
        "yes",
        "fetches it again",
        jobs("completed", content=(200, FILM, b"\x8f" * 4096)),
        by="resume",
        has_id=True,
    ),
    Row(
        errors.NotAsAskedError,
        1,
        "96x64 in place of 64x64",
        "yes",
        "It is kept at file://",
        jobs("completed", content=(200, FILM, tall())),
        words=("--strict",),
        options={"strict": True},
        has_id=True,
    ),
    Row(
        errors.BatchError,
        1,
        "0 of 1 kept, 1 failed; cost $0.00. Row 1: ",
        "no",
        "results.csv tells all rows",
        refusing(says(400, "Unknown parameter: 'fps'.", "unknown_parameter")),
        by="batch",
        has_key=False,
    ),
    Row(
        errors.StoryboardError,
        1,
        "Shot 1 has none: Refused by moderation (moderation_blocked): The video server",
        "no",
        "what is kept is not paid for again",
        refusing(says(400, "This was blocked by our moderation system", "moderation_blocked")),
        by="storyboard",
        has_key=False,
    ),
    Row(
        errors.JoinError,
        1,
        "cannot be joined",
        "yes",
        "render that shot anew",
        jobs("completed", content=(200, FILM, undecodable())),
        by="storyboard",
        has_key=False,
    ),
    Row(
        errors.StorageError,
        8,
        "a file stands where a folder is needed",
        "unknown",
        "Nothing was sent",
        jobs(),
        words=("--anew",),
        store=in_the_way,
    ),
    Row(
        errors.NewerStoreError,
        8,
        "newer version of prefect-sora",
        "unknown",
        "pip install -U prefect-sora",
        jobs(),
        by="resume",
        store=of_a_later_version,
    ),
    Row(
        errors.ForeignRecordError,
        8,
        "of the render 0123456789ab",
        "unknown",
        "put it back as it was",
        jobs(),
        by="resume",
        store=of_another_render,
    ),
]


@dataclass(frozen=True)
class Stage:
    """A server and a store, on which one row is played."""

    row: Row
    base_url: str
    store: Path

    @property
    def request(self) -> VideoRequest:
        """What is asked for."""
        tiny = {"prompt": "a red kite", "model": None, "size": "64x64", "seconds": 1}
        return VideoRequest(**{**tiny, **self.row.request})

    def template(self) -> str:
        """The row's template, as a file."""
        path = self.store.parent / "own.j2"
        path.write_text(self.row.template or "")
        return str(path)

    def storyboard(self) -> str:
        """A storyboard of the request, as a file."""
        path = self.store.parent / "board.json"
        shot = {"prompt": self.request.prompt, "model": "tiny"}
        board = {"title": "A kite", "size": "64x64", "seconds": 1, "shots": [shot]}
        path.write_text(json.dumps(board))
        return str(path)

    def client(self) -> VideoClient:
        """Connect as the command line does."""
        key = SecretStr(CANARY)
        return VideoClient(remote(self.base_url, api_key=key, profile=read_profile(SOON)))

    async def prepared(self) -> VideoJob | None:
        """Leave an accepted render, where the row begins with one, and the store as it says."""
        job = None
        if self.row.by in ("resume", "again"):
            client = self.client()
            prepared = await identify(self.request, client, "last night")
            job = await submit(
                prepared, client, Ledger(VideoFolder(str(self.store))), RenderOptions("last night")
            )
            await client.close()
        if self.row.store:
            self.row.store(self.store, job)
        return job

    async def python(self) -> None:
        """Do by the API what the command does."""
        job = await self.prepared()
        ledger, client = Ledger(VideoFolder(str(self.store))), self.client()
        options = {"poll_interval_seconds": 0.05, **self.row.options}
        try:
            if self.row.template:
                await written(ShotPrompt(subject="a red kite", template=self.template()))
            elif self.row.by == "batch":
                provider = OpenAICredentials(base_url=self.base_url, api_key=SecretStr(CANARY))
                await render_batch([self.request], provider, str(self.store), **options)
            elif self.row.by == "storyboard":
                provider = OpenAICredentials(base_url=self.base_url, api_key=SecretStr(CANARY))
                await storyboard(
                    self.storyboard(), provider, str(self.store), poll_interval_seconds=0.05
                )
            elif self.row.by == "render":
                await render(self.request, client, ledger, "tonight", **options)
            elif self.row.by == "resume":
                assert job
                waiting = WaitOptions(**options)
                await resume(await ledger.state(job.folder), client, ledger, waiting)
            else:
                variables = {"OPENAI_BASE_URL": self.base_url, "PREFECT_SORA_PROFILE": "openai"}
                renderer = named_provider("openai", variables)
                store = NamedStore(str(self.store), VideoFolder(str(self.store)))
                await check(Order(self.request, (renderer,), store), renderer, print)
        finally:
            await client.close()

    def command(self, cli: Cli, prefect_api: str | None) -> Ended:
        """Run the command: as a run of Prefect, or without it."""
        job = asyncio.run(self.prepared())
        row, request = self.row, self.request
        words = ["--store", str(self.store), "--provider", "openai", "--poll-interval", "0.05"]
        words += ["--json", *row.words]
        if row.by == "resume":
            assert job
            words = ["resume", job.key, *words]
        elif row.by == "batch":
            file = self.store.with_suffix(".jsonl")
            file.write_text(request.model_dump_json(include={"prompt", "model", "size", "seconds"}))
            words = ["batch", str(file), *words]
        elif row.by == "storyboard":
            words = ["storyboard", self.storyboard(), *words]
        else:
            words = ["render", request.prompt, "--model", request.model or "", *words]
            words += ["--size", str(request.size), "--seconds", f"{request.seconds}"]
            words += ["--image", str(request.reference)] if request.reference else []
        if row.template:
            shot = self.store.parent / "shot.yaml"
            shot.write_text("subject: a red kite")
            words[1:2] = ["--shot", str(shot), "--template", self.template()]
        return cli(
            *words,
            OPENAI_BASE_URL=self.base_url,
            PREFECT_SORA_PROFILE=json.dumps(SOON),
            OPENAI_API_KEY=CANARY,
            PREFECT_SORA_LIMITS=json.dumps({"download_attempts": 1}),
            **({"PREFECT_API_URL": prefect_api} if prefect_api else {}),
        )


@pytest.fixture(params=ROWS, ids=lambda row: row.error.__name__)
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """Each row with its server."""
    row: Row = request.param
    if row.answer is None:
        yield Stage(row, "http://127.0.0.1:9/v1", tmp_path / "renders")
        return
    server = Scripted(row.answer)
    yield Stage(row, server.base_url, tmp_path / "renders")
    server.stop()


def in_both_ways() -> list[Any]:
    """Each row without Prefect, and as a run one of each command and exit code.

    How an error comes out of a run is the same for all; resuming is no run.
    """
    runs: dict[tuple[str, int], Row] = {}
    for row in ROWS:
        if row.by != "resume":
            runs.setdefault((row.by, row.code), row)
    ways = [*((row, True) for row in runs.values()), *((row, False) for row in ROWS)]
    return [
        pytest.param(row, run, id=f"{row.error.__name__}-{'a run' if run else 'plainly'}")
        for row, run in ways
    ]


def test_each_error_of_the_tree_has_its_row() -> None:
    def tree(kind: type[SoraError]) -> set[type[SoraError]]:
        return {kind}.union(*(tree(below) for below in kind.__subclasses__()))

    every = {kind for kind in tree(SoraError) if kind.__module__ == errors.__name__}
    assert every - NEVER_RAISED == {row.error for row in ROWS}


@pytest.mark.slow
@pytest.mark.usefixtures("prefect")
async def test_the_python_api_raises_it_and_says_what_was_paid_and_what_to_do(
    stage: Stage, limit: Limit, prefect: str
) -> None:
    limit(download_attempts=1)
    row = stage.row
    with pytest.raises(SoraError) as caught:
        await stage.python()
    error = caught.value
    assert type(error) is row.error
    assert row.said in error.message
    assert (error.paid, bool(error.key), bool(error.video_id)) == (
        row.paid,
        row.has_key,
        row.has_id,
    )
    assert error.next_step
    assert row.next_step in error.next_step
    assert error.next_step in repr(error), "which is what Prefect shows of some"
    for command in commands(str(error)):
        assert f"--store {stage.store}" in command


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "as_a_run"), in_both_ways(), indirect=["stage"])
def test_the_command_line_tells_it_in_one_paragraph_and_an_exit_code(
    stage: Stage, cli: Cli, prefect_api: str, as_a_run: bool
) -> None:
    row, ended = stage.row, stage.command(cli, prefect_api if as_a_run else None)

    document = ended.json
    told = document["renders"][0]["error"] if "renders" in document else document["error"]
    assert ended.code == told["exit_code"] == row.code, ended.err
    assert any(f"{row.code}" in codes.split(", ") for codes in exits.MEANINGS)
    assert (told["type"], told["paid"]) == (row.error.__name__, row.paid)
    assert row.said in told["message"]
    assert row.next_step in told["next_step"]
    assert (bool(told["key"]), bool(told["video_id"])) == (row.has_key, row.has_id)

    (paragraph,) = [line for line in ended.err.splitlines() if line.startswith("✗ ")]
    for part in (row.said, PAID[row.paid], told["next_step"], told["key"], told["video_id"]):
        assert (part or "") in paragraph
    assert "Traceback" not in ended.err
    assert "Encountered exception" not in ended.err
    assert CANARY not in ended.out + ended.err
    for command in commands(paragraph):
        assert f"--store {stage.store} --provider openai" in command
        app.parse_args(shlex.split(command)[1:], print_error=False, exit_on_error=False)
    if row.paid == "yes" and row.has_key and "It is kept at" not in paragraph:
        assert f"`prefect-sora resume {told['key']} " in paragraph, "what is paid can be fetched"


def commands(text: str) -> list[str]:
    """The commands in a text, which a person would paste."""
    return re.findall(r"`(prefect-sora [^`]+)`", text)
