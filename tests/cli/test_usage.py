"""Usage: what is wrong with a command is said at once, and nothing is sent."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from prefect_sora import __version__, errors
from prefect_sora.cli import exits
from prefect_sora.cli.options import Shown
from prefect_sora.cli.screen import Screen
from prefect_sora.cli.signals import InterruptedBySignal
from prefect_sora.errors.next_steps import NextStep
from tests.cli.conftest import Cli
from tests.support.renderer import Renderer

QUICK_SECONDS = 3.0  # measured: 0.4 s on an idle machine; importing Prefect alone takes 0.8 s


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param([""], "prompt is empty", id="an empty prompt"),
        pytest.param(["a kite", "--seconds", "7"], "not 7", id="a length the model has not"),
        pytest.param(["a kite", "--seconds", "0"], "seconds", id="no length"),
        pytest.param(["a kite", "--seconds", "4.5"], "4.5 is no whole number", id="half a second"),
        pytest.param(["a kite", "--seconds", "four"], "four is no whole number", id="in words"),
        pytest.param(["a kite", "--take", "1.5"], "no whole number", id="half a take"),
        pytest.param(["a kite", "--size", "640x"], "640x", id="no size"),
        pytest.param(["a kite", "--size", "640x480"], "not 640x480", id="another model's size"),
        pytest.param(["a kite", "--aspect-ratio", "2:1"], "2:1", id="an unknown ratio"),
        pytest.param(["a kite", "--image", "gone.png"], "gone.png", id="a missing picture"),
        pytest.param(["a kite", "--take", "0"], "take", id="take zero"),
        pytest.param(["a kite", "--extra", "seed"], "KEY=VALUE", id="a field without a value"),
        pytest.param(["a kite", "--timeout", "0"], "timeout", id="no time"),
        pytest.param(["a kite", "--remix", "v", "--seconds", "4"], "--seconds", id="a long remix"),
        pytest.param(["a kite", "--provider", "sora"], "no provider", id="an unknown provider"),
        pytest.param(
            ["a kite", "--provider", "azure"], "AZURE_OPENAI_ENDPOINT", id="half an Azure"
        ),
        pytest.param(["a kite", "--fit", "bend"], "bend", id="an unknown fit"),
        pytest.param(["a kite", "--colour"], "--colour", id="an unknown option"),
        pytest.param([], "PROMPT", id="no prompt"),
    ],
)
def test_a_wrong_request_ends_at_once_and_sends_nothing(
    cli: Cli, renderer: Renderer, words: list[str], says: str
) -> None:
    server = {"OPENAI_BASE_URL": renderer.base_url, "PREFECT_SORA_PROFILE": "openai"}
    ended = cli("render", *words, **server)

    assert ended.code == exits.USAGE
    assert says.lower() in ended.err.lower()
    assert "Traceback" not in ended.err
    assert ended.out == ""
    assert ended.seconds < QUICK_SECONDS
    assert renderer.requests() == []


@pytest.mark.parametrize(
    "words",
    [
        ("extend", "video_1", "it lands", "--seconds", "4.5"),
        ("batch", "kites.csv", "--seconds", "4.5"),
        ("estimate", "--seconds", "4.5"),
        ("image", "a fox", "-n", "1.5"),
    ],
    ids=["extend", "batch", "estimate", "image"],
)
def test_no_command_rounds_what_is_paid_for(
    cli: Cli, renderer: Renderer, words: tuple[str, ...]
) -> None:
    ended = cli(*words, OPENAI_BASE_URL=renderer.base_url)
    assert ended.code == exits.USAGE
    assert f"{words[-1]} is no whole number" in " ".join(ended.err.split())
    assert renderer.requests() == []


def test_no_provider_is_an_error_that_names_the_choices_and_starts_no_renderer(cli: Cli) -> None:
    ended = cli("render", "a kite")

    assert ended.code == exits.USAGE
    for choice in ("local", "OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT", "type"):
        assert choice in ended.err
    assert not (cli.folder / "local").exists()


def test_a_model_that_its_service_has_ended_is_refused_before_anything_is_sent(cli: Cli) -> None:
    ended = cli("render", "a kite", OPENAI_API_KEY="sk-unused")

    assert ended.code == exits.USAGE
    assert "OpenAI ended sora-2 on 2026-09-24" in ended.err


def test_with_json_a_usage_error_is_one_document_too(cli: Cli) -> None:
    assert cli("render", "--json").json["error"]["exit_code"] == exits.USAGE
    assert cli("render", "", "--json").json["error"] == {
        "type": "InvalidRequestError",
        "message": "prompt is empty: say what the video shows.",
        "video_id": None,
        "key": None,
        "paid": "no",
        "next_step": "`prefect-sora render --help` says what it takes.",
        "exit_code": exits.USAGE,
    }


def test_help_loads_neither_prefect_nor_codecs() -> None:
    asked = ["--help", "render --help", "batch --help", "estimate --help", "--version"]
    program = (
        "import sys; from prefect_sora.cli import main\n"
        "for words in sys.argv[1:]:\n"
        "    try: main(words.split())\n"
        "    except SystemExit: pass\n"
        "    loaded = {'prefect', 'openai', 'av', 'PIL', 'httpx2'} & set(sys.modules)\n"
        "    print(words, 'loaded', sorted(loaded))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, *asked], capture_output=True, text=True, check=True
    )

    told = [line for line in ended.stdout.splitlines() if " loaded [" in line]
    assert told == [f"{words} loaded []" for words in asked]


def test_help_tells_the_exit_codes_and_version_the_version(cli: Cli) -> None:
    shown = cli("--help").out

    assert all(meaning in shown for meaning in exits.MEANINGS.values())
    assert cli("--version").out.strip() == __version__


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.SoraError, 1),
        (errors.RenderFailedError, 1),
        (ZeroDivisionError, 1),
        (errors.InvalidRequestError, 2),
        (errors.RetiredModelError, 2),
        (errors.ReferenceImageError, 2),
        (errors.AuthenticationError, 3),
        (errors.QuotaError, 3),
        (errors.ModerationError, 4),
        (errors.UnfinishedRenderError, 5),
        (errors.UncertainSubmitError, 5),
        (errors.RenderTimeoutError, 6),
        (errors.RenderStalledError, 6),
        (errors.RejectedError, 7),
        (errors.VideoNotFoundError, 7),
        (errors.RateLimitError, 7),
        (errors.UnavailableError, 7),
        (errors.DownloadError, 8),
        (errors.VideoExpiredError, 8),
        (errors.CorruptVideoError, 8),
        (errors.StorageError, 8),
    ],
)
def test_each_error_has_its_documented_exit_code(error: type[Exception], code: int) -> None:
    assert exits.exit_code(error("x")) == code
    assert str(code) in exits.MEANINGS


def test_at_a_terminal_a_command_to_type_stands_whole_in_a_line_of_its_own() -> None:
    screen, shown = Screen(Shown()), io.StringIO()
    screen.err = Console(file=shown, force_terminal=True, width=40, color_system=None)
    store = "s3://a-bucket/with-a-long-name/renders"
    error = errors.RenderTimeoutError("Off.", key="ab", next_step=("Look.", NextStep("wait")))

    screen.trouble(error.known(store=store, provider="openai"))

    command = f"  $ prefect-sora resume ab --store {store} --provider openai"
    assert command in shown.getvalue().splitlines()


def test_signals_have_the_exit_codes_that_shells_know() -> None:
    assert exits.exit_code(InterruptedBySignal(15)) == 143
    assert exits.exit_code(KeyboardInterrupt()) == 130


def test_something_unexpected_ends_in_one_line_unless_a_traceback_is_asked_for(
    cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "local").write_text("a file where the renderer's folder should be")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "fsspec.py").write_text("raise RuntimeError('a broken installation')")

    quiet = cli("resume", PYTHONPATH=str(broken))
    loud = cli("resume", "--debug", PYTHONPATH=str(broken))

    assert quiet.code == loud.code == exits.FAILED
    assert "a broken installation" in quiet.err
    assert "--debug" in quiet.err
    assert "Traceback" not in quiet.err
    assert "Traceback" in loud.err
