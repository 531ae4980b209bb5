"""Words: what a person at a terminal is told, found wanting once by one who had not seen the code.

The commands run in this process: what is said before a server is asked needs no other.
"""

import json
import threading
from pathlib import Path

import pytest
from PIL import Image

from prefect_sora.cli import exits, main, signals
from prefect_sora.cli.options import Shown
from prefect_sora.cli.screen import Screen
from prefect_sora.errors import InvalidRequestError, RenderTimeoutError, SoraError
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.renders.environment import named_anywhere
from tests.cli.conftest import TINY, Cli, Tell
from tests.support.scripted import Jobs, Reply, Scripted

NOBODY = "http://127.0.0.1:9/v1"


# Money


def test_a_file_that_cannot_be_written_is_told_before_anything_is_paid(tell: Tell) -> None:
    told = tell("render", "a kite", "--provider", "local", "-o", "/proc/clip.mp4")
    assert told.code == exits.USAGE
    assert "--output /proc/clip.mp4: it cannot be written there" in told.said
    assert "submitting" not in told.said
    long = "x" * 260 + ".mp4"
    assert "it cannot be written there" in tell("render", "a kite", "-o", long).said


def test_a_file_that_can_be_written_leaves_nothing_behind_until_it_is(
    tell: Tell, tmp_path: Path
) -> None:
    tell("render", "", "-o", "clip.mp4")
    assert not (tmp_path / "clip.mp4").exists()
    assert [path.name for path in tmp_path.iterdir() if "clip" in path.name] == []


def test_what_a_time_out_advises_works_in_a_terminal_that_has_no_variables(
    cli: Cli, store: str
) -> None:
    server = Scripted(Jobs(lose=0, echo={"status": "in_progress"}))
    late = cli(
        *("render", "a kite", "--store", store, "--timeout", "0.3", *TINY),
        OPENAI_BASE_URL=server.base_url,
        PREFECT_SORA_PROFILE="generic",
    )
    (command,) = [part for part in late.err.split("`") if part.startswith("prefect-sora resume")]
    again = cli(*command.split()[1:], "--timeout", "0.3", PREFECT_SORA_PROFILE="generic")
    server.stop()

    assert f"--provider {server.base_url}" in command
    assert "same command again" not in late.err, "which would be refused as unfinished"
    assert (late.code, again.code) == (6, 6)
    assert "Not finished within 0.3 s" in again.err


def test_another_terminal_is_told_the_address_and_never_a_secret_in_it() -> None:
    assert named_anywhere({"OPENAI_BASE_URL": "http://box/v1"}) == "http://box/v1"
    assert named_anywhere({"OPENAI_BASE_URL": "http://me:key@box/v1"}) == "openai"
    assert named_anywhere({"OPENAI_BASE_URL": "http://box/v1?key=1"}) == "openai"
    assert named_anywhere({"OPENAI_API_KEY": "sk-1"}) == "openai"
    assert named_anywhere({"AZURE_OPENAI_ENDPOINT": "https://x"}) == "azure"
    assert named_anywhere({}) is None


def test_the_same_command_is_advised_where_it_goes_on_and_not_where_it_is_refused() -> None:
    steps = (NextStep("wait"), NextStep("again", "Or"))
    alone = RenderTimeoutError("Off.", key="ab", paid="yes", next_step=steps)
    assert "again" not in alone.told("terminal").lower().replace("paying again", "")
    shared = RenderTimeoutError("Off.", next_step=(steps[0], NextStep("again", scope="s")))
    assert "with --scope s" in shared.told("terminal")


SOON = {"base": "openai", "submit_grace_s": 0.2, "longest_create_s": 0.2, "lost_after_s": 0.2}


def test_a_silent_server_and_the_search_after_a_lost_answer_are_told(cli: Cli, store: str) -> None:
    told = threading.Event()

    def lost(method: str, path: str, body: bytes) -> Reply:
        if method == "POST":
            told.wait(30)
            return None
        return 200, {}, {"object": "list", "data": [], "has_more": False}

    server = Scripted(lost)
    running = cli.start(
        *("render", "a kite", "--store", store, "--timeout", "0.5", *TINY),
        OPENAI_BASE_URL=server.base_url,
        PREFECT_SORA_PROFILE=json.dumps(SOON),
        PREFECT_SORA_LIMITS=json.dumps({"silent_seconds": 0.1}),
    )
    running.until_it_says("! The server has not answered the request yet; it has 90 s. Nothing is")
    told.set()
    said = running.end().err
    server.stop()

    lines = [line for line in said.splitlines() if line.startswith("! ")]
    assert lines[1].startswith("! No clear answer to the create request")
    assert lines[2].startswith("! Looking for it in the server's list, for up to ")
    assert "Its list shows that nothing was accepted. (render" in said


def test_one_id_for_two_renders_is_told_once_and_so_that_it_can_be_read(
    cli: Cli, store: str
) -> None:
    def same(method: str, path: str, body: bytes) -> Reply:
        job = {"id": "video_same", "object": "video", "status": "in_progress", "created_at": 1}
        if method == "POST":
            return 200, {}, {**job, **json.loads(body)}
        return 200, {}, {"object": "list", "data": []} if "?" in path else job

    server = Scripted(same)
    for prompt in ("one", "two"):
        ended = cli(
            *("render", prompt, "--store", store, "--timeout", "0.3", *TINY),
            OPENAI_BASE_URL=server.base_url,
            PREFECT_SORA_PROFILE=json.dumps(SOON),
        )
    server.stop()
    assert ended.err.count("video_same, which render") == 1
    assert "Either the server gives one id twice, or that render has taken" in ended.err
    assert "its answer was lost" not in ended.err


def test_a_price_over_the_budget_is_told_before_a_server_is_asked(tell: Tell) -> None:
    told = tell(
        *("render", "a kite", "--model", "m", "--seconds", "4", "--max-cost", "0.1"),
        OPENAI_BASE_URL=NOBODY,
        PREFECT_SORA_PRICES='{"m": 0.1}',
    )
    assert told.code == 3
    assert "It would cost $0.40, and --max-cost allows $0.10." in told.said
    assert "cannot be reached" not in told.said


# Wrong statements


@pytest.mark.parametrize(
    "words",
    [
        ("clips", "--since", "yesterday"),
        ("estimate", "--size", "7x"),
        ("delete", "--provider", "local"),
        ("automate",),
        ("models", "--provider", "openia"),
        ("templates", "nothing"),
        ("costs", "--store", "gone"),
    ],
    ids=lambda words: words[0],
)
def test_nothing_is_said_of_money_where_none_is_involved(
    tell: Tell, words: tuple[str, ...]
) -> None:
    told = tell(*words)
    assert told.code == exits.USAGE
    assert "paid" not in told.said
    assert "paid" in tell("render", "").said


def test_what_was_paid_is_said_wherever_it_was() -> None:
    error = SoraError("Off.", paid="yes")
    assert (
        error.told("terminal", pays=False) == "Off. The server accepted it, so it counts as paid."
    )


def test_a_stop_before_anything_was_sent_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(signals, "_begun", [])
    assert Screen(Shown()).failure(KeyboardInterrupt()) == 130
    assert "✗ Stopped. Nothing was sent." in capsys.readouterr().err
    signals._begun.append(True)
    Screen(Shown()).failure(KeyboardInterrupt())
    assert capsys.readouterr().err == "✗ Stopped.\n"


def test_a_stop_while_the_command_is_imported_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import builtins

    real = builtins.__import__

    def stopped(name: str, *rest: object) -> object:
        if name == "prefect_sora.cli.application":
            raise KeyboardInterrupt
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", stopped)
    assert main(["render", "a kite"]) == 130
    assert capsys.readouterr().err == "✗ Stopped. Nothing was sent.\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ("-o", "kite.txt"),
            "kite.txt is a file's name, and a store is a folder.",
        ),
        (("--store", "block:x"), "block:x is no store"),
    ],
    ids=["a file", "half a block"],
)
def test_a_mistyped_store_makes_no_folder(
    tell: Tell, tmp_path: Path, words: tuple[str, str], says: str
) -> None:
    told = tell("render", "a kite", "--provider", "local", *words)
    assert (told.code, says in told.said) == (exits.USAGE, True), told.said
    assert not (tmp_path / words[1]).exists()


def test_a_kept_render_is_not_said_to_be_adopted_or_sent_again(cli: Cli, store: str) -> None:
    words = ("--provider", "local", "--store", store)
    kept = cli("render", "a kite", *words, *TINY, "--json").json

    other = cli("resume", kept["key"], "--adopt", "video_other", *words)
    assert (other.code, "It is kept already: nothing was adopted." in other.err) == (2, True)
    again = cli("resume", kept["key"], "--resubmit", *words)
    assert (again.code, "It is kept already: nothing was sent." in again.err) == (2, True)
    assert "✓" not in other.out + again.out
    assert cli("resume", kept["key"], "--adopt", kept["video_id"], *words).code == exits.OK

    cancelled = cli("cancel", kept["key"], *words).err
    assert "There is nothing to cancel." in cancelled
    assert f"`prefect-sora delete {kept['video_id']} --store {store}" in cancelled
    nothing = cli("delete", "--kept", "--provider", "local", "--store", store)
    assert "--yes deletes" not in nothing.out, "there is nothing that old"


def test_a_misspelt_model_is_met_with_the_one_that_was_meant(tell: Tell) -> None:
    assert "Did you mean sora-2-pro?" in tell("models", "sora-2-por").said
    assert "rendering takes a time not measured yet" in tell("models", "sora-2").said


def test_prices_that_are_none_are_told_with_every_provider(tell: Tell) -> None:
    told = tell("render", "a kite", "--provider", "local", PREFECT_SORA_PRICES="m=0.1")
    assert (told.code, "PREFECT_SORA_PRICES holds no JSON" in told.said) == (2, True)


# Names of Python, and usage


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("image", "a kite", "--mask", "m.png"), "give that with --edit"),
        (("image", "a kite", "--compression", "5"), "--compression goes with --format jpeg"),
        (("render", "a kite", "--aspect-ratio", "2:1"), "--aspect-ratio '2:1' is not one of"),
        (("render", "x", "--template", "sora_shot_prompt"), "(--shot FILE), or leave"),
    ],
    ids=["mask", "compression", "ratio", "template"],
)
def test_options_are_called_as_they_are_typed(
    tell: Tell, words: tuple[str, ...], says: str
) -> None:
    told = tell(*words, "--provider", "local").said
    assert says in told
    for name in ("ShotPrompt", "output_", "aspect_ratio", "as images"):
        assert name not in told


def test_a_key_that_is_refused_ends_its_sentence_and_is_called_a_key() -> None:
    error = InvalidRequestError("Incorrect API key provided", next_step="Check api_key, and more.")
    said = error.told("terminal")
    assert said.startswith("Incorrect API key provided. Nothing was paid.")
    assert said.endswith("Check the API key, and more.")


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("templates show x", '"x" is one word too many for `prefect-sora templates`.'),
        ("render a cat", "Words that belong together stand in quotes. See `prefect-sora render"),
        ("image --provider local", "`prefect-sora image` needs PROMPT, as a word or as --prompt."),
        ("image --prompt", "--prompt needs a value after it. See `prefect-sora image --help`."),
        ("extend video_1", "needs PROMPT"),
        ("clips --seconds 4", "`prefect-sora clips` has no option --seconds. See"),
        ("render x --secnods 4", "has no option --secnods. Did you mean --seconds? See"),
        (
            "download v --variant poster",
            '--variant must be video, thumbnail or spritesheet, not "poster". See `prefect-sora',
        ),
        ("costs --by week", '--by must be day, month, model, provider, scope or kind, not "week".'),
        ("render x --max-cost much", '--max-cost must be a number, not "much".'),
        ("render x --timeout 0", '--timeout must be more than 0, not "0".'),
        ("automate --runs 1", '--runs must be 2 or more, not "1".'),
        ("render x --seconds 4.5", "--seconds: 4.5 is no whole number."),
        ("render x --seconds 4 --seconds 8", "--seconds is given twice."),
        ("delete --yes=maybe x", "--yes takes no value."),
        ("rendr x", 'There is no command "rendr". Did you mean render? See `prefect-sora --help`.'),
        ("--prompt x", "--prompt comes after a command: `prefect-sora x --prompt`."),
    ],
)
def test_a_mistyped_command_is_told_in_plain_words(tell: Tell, typed: str, says: str) -> None:
    told = tell(*typed.split())
    assert told.code == exits.USAGE
    assert says in " ".join(told.said.split())
    for word in ("Tokens", "Literal", "Command ", "unable"):
        assert word not in told.said


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("openia", "'openia' is no provider. Nothing was paid. Did you mean openai?"),
        ("127.0.0.1:9", "Did you mean http://127.0.0.1:9/v1?"),
        ("gpu-box:30010/v1", "Did you mean http://gpu-box:30010/v1?"),
        ("localhost", "Did you mean http://localhost/v1?"),
        ("kling", "'kling' is no provider. Nothing was paid. Providers are local (this"),
    ],
)
def test_a_mistyped_provider_is_met_with_what_was_meant(tell: Tell, name: str, says: str) -> None:
    told = tell("render", "a kite", "--provider", name)
    assert (told.code, says in " ".join(told.said.split())) == (exits.USAGE, True), told.said
    assert len(told.said.split()) < 40


# The rest


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--seconds", "500"), "The local renderer has no clips of 500 s, only up to 120 s."),
        (("--size", "65x63"), "no size 65x63: both sides have to be even. Nothing was paid"),
        (("--size", "8000x8000"), "Each side has 4096 pixels at most."),
        (("--size", "7x7"), "size '7x7': each side has 16 pixels or more."),
    ],
    ids=["long", "odd", "large", "small"],
)
def test_what_the_local_renderer_does_not_draw_is_refused_before_it_starts(
    tell: Tell, tmp_path: Path, words: tuple[str, str], says: str
) -> None:
    told = tell("render", "a kite", "--provider", "local", *words)
    assert (told.code, says in " ".join(told.said.split())) == (exits.USAGE, True), told.said
    assert not (tmp_path / "local").exists()


def test_the_size_of_a_picture_is_told_by_what_is_wrong_with_it(tell: Tell) -> None:
    said = tell("image", "a kite", "--size", "7x7").said
    assert "size '7x7' is too small: each side has 16 pixels or more" in " ".join(said.split())


def test_pictures_are_named_and_kinds_are_listed_only_where_that_helps(
    tell: Tell, tmp_path: Path
) -> None:
    (tmp_path / "text.png").write_text("no picture")
    Image.new("RGB", (64, 64)).save(tmp_path / "ok.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "ok.png").read_bytes()[:60])
    where = ("--provider", "local", "--size", "64x64")
    gone = tell("render", "a kite", *where, "--image", "gone.png").said
    assert 'The reference image "gone.png" does not exist.' in gone
    assert "JPEG" not in gone
    none = " ".join(tell("render", "a kite", *where, "--image", "text.png").said.split())
    assert 'The reference image "text.png" is no picture that can be read: it is text.' in none
    assert '"cut.png" is cut or damaged' in tell("render", "x", *where, "--image", "cut.png").said
    fitted = tell("render", "x", "--provider", "local", "--image", "ok.png", "--fit", "exact").said
    assert '"ok.png" is 64x64, and the video 1280x720.' in " ".join(fitted.split())
    assert "fit cover crops it" in " ".join(fitted.split())


def test_a_storyboard_s_unknown_fields_are_told_with_those_that_there_are(
    tell: Tell, tmp_path: Path
) -> None:
    (tmp_path / "board.yaml").write_text(
        "title: A kite\nshot: 1\nshots:\n  - prompt: a kite\n    secnds: 4\n"
    )
    told = " ".join(tell("storyboard", "board.yaml", "--provider", "local").said.split())
    assert "Shot 1, secnds: is an unknown field: did you mean seconds?" in told
    assert "shot: is an unknown field: did you mean shots?" in told
    assert "a shot has prompt, title, seconds, model" in told


def test_broken_rows_have_a_line_each_and_no_advice_that_was_taken(
    tell: Tell, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text("prompt,size\na kite,7\na fox,640x\n")
    (tmp_path / "folder").mkdir()
    told = tell("batch", "rows.csv", "--provider", "local").said
    assert [line[:14] for line in told.splitlines()][1:3] == ["  row 1 (line ", "  row 2 (line "]
    assert "or go on without them: --skip-bad-rows" in told
    skipped = tell("batch", "rows.csv", "--provider", "local", "--skip-bad-rows").said
    assert "--skip-bad-rows" not in skipped
    assert "No row is left: correct one at least." in skipped
    assert '"folder" is a folder.' in tell("batch", "folder", "--provider", "local").said


def test_a_store_that_refuses_is_called_as_it_was_typed(tell: Tell, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    told = tell("render", "a kite", "--provider", "local", "--store", "file", *TINY).said
    assert f"The store {tmp_path}/file: a file stands where a folder is needed" in told
    assert ".open" not in told
    local = tell("local", "--folder", "file")
    assert (local.code, "cannot be made a folder of the local renderer" in local.said) == (8, True)


def test_a_bucket_without_credentials_names_the_variables_that_hold_them(tell: Tell) -> None:
    pytest.importorskip("s3fs")
    told = tell(
        *("render", "a kite", "--provider", "local", "--store", "s3://nobody-has-it/x", *TINY),
        AWS_EC2_METADATA_DISABLED="true",
        AWS_SHARED_CREDENTIALS_FILE="/gone",
        AWS_CONFIG_FILE="/gone",
    ).said
    assert "the environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in " ".join(told.split())


def test_the_exit_code_of_a_store_promises_nothing_that_was_not_begun() -> None:
    assert exits.MEANINGS["8"] == "download or storage: what was begun can be resumed"
