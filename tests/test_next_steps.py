"""Next steps: an error says what can be done as data, and in words that can be pasted."""

import ast
import pickle
import re
from pathlib import Path

import pytest

import prefect_sora
from prefect_sora.errors import SoraError, _rebuild
from prefect_sora.errors.next_steps import Kind, NextStep, Reader, in_words

PACKAGE = Path(prefect_sora.__file__).parent


@pytest.mark.parametrize(
    ("step", "command"),
    [
        (NextStep("resume"), "prefect-sora resume"),
        (NextStep("wait", key="ab"), "prefect-sora resume ab"),
        (NextStep("fetch", key="ab"), "prefect-sora resume ab"),
        (NextStep("adopt"), "prefect-sora resume KEY --adopt VIDEO_ID"),
        (NextStep("adopt", key="ab", video_id="video_1"), "prefect-sora resume ab --adopt video_1"),
        (NextStep("resubmit", key="ab"), "prefect-sora resume ab --resubmit"),
        (NextStep("doctor", key="ab"), "prefect-sora doctor"),
    ],
)
def test_a_step_is_a_command_with_all_that_is_known(step: NextStep, command: str) -> None:
    assert step.command == command
    known = step.known(store="my renders", provider="openai")
    assert known.command == f"{command} --store 'my renders' --provider openai"


def test_a_renderer_is_started_in_its_folder() -> None:
    step = NextStep("renderer", folder="/tmp/my renderer")
    assert step.known(store="renders").command == "prefect-sora local --folder '/tmp/my renderer'"


@pytest.mark.parametrize("kind", ["tell", "again"])
def test_a_step_in_words_is_no_command(kind: Kind) -> None:
    step = NextStep(kind, "Look.")
    assert step.command is None
    assert step.known(key="ab", store="renders", provider="openai") == step


def test_what_a_step_says_already_stays() -> None:
    step = NextStep("resume", key="ab", store="here", provider="local")
    assert step.known(key="cd", store="there", provider="openai") == step


@pytest.mark.parametrize(
    ("reader", "again", "with_scope"),
    [
        ("api", "Run it again with the same scope.", 'Run it again with the scope "my film"'),
        (
            "terminal",
            "Run the same command again: what is kept or still renders is not paid again.",
            "Run the same command again with --scope 'my film'",
        ),
        (
            "page",
            "Retry its run, or run it again with the same scope.",
            'Retry its run, or run it again with the scope "my film"',
        ),
    ],
)
def test_to_run_again_is_said_as_the_reader_would_do_it(
    reader: Reader, again: str, with_scope: str
) -> None:
    assert NextStep("again").words(reader) == again
    told = NextStep("again", scope="my film").words(reader)
    assert told == f"{with_scope}: what is kept is not paid for again."


def test_options_are_called_as_the_reader_types_them() -> None:
    steps = [NextStep("tell", "Choose another, or set allow_unlisted to send it all the same.")]
    assert in_words(steps) == steps[0].text
    told = "Choose another, or add --allow-unlisted to send it all the same."
    assert in_words(steps, "terminal") == told


def test_words_before_a_step_go_on_into_it() -> None:
    steps = [NextStep("tell", "Look."), NextStep("again", "Or"), NextStep("doctor", "Else:")]
    assert in_words(steps) == (
        "Look. Or run it again with the same scope. Else: `prefect-sora doctor` tells more."
    )


def test_a_finished_video_is_fetched_while_the_server_has_it() -> None:
    assert "often for no more than an hour" in NextStep("fetch").words()
    assert "has it until 2026-11-21 09:30:00 UTC." in NextStep("fetch", until=1795253400.0).words()
    assert "has it until 1e+300." in NextStep("fetch", until=1e300).words(), "no Unix seconds"


def test_what_higher_layers_know_is_filled_in_before_and_after() -> None:
    error = SoraError("It waits.", next_step=("Look.", NextStep("wait")))
    error.about(key="ab").known(store="renders")
    error.advise(*error.steps, NextStep("resubmit"))
    error.about(key="cd")

    assert error.steps == (
        NextStep("tell", "Look."),
        NextStep("wait", key="ab", store="renders"),
        NextStep("resubmit", key="ab"),
    )
    assert str(error) == (
        "It waits. (render ab) Nothing was paid. Look. "
        "To wait on without paying again: `prefect-sora resume ab --store renders`. "
        "`prefect-sora resume ab --resubmit` sends, and pays for, it once more."
    )
    assert error.next_step is not None
    assert str(error).endswith(error.next_step)


def test_an_error_that_names_no_step_says_none() -> None:
    assert (SoraError("Off.").next_step, SoraError("Off.").steps) == (None, ())
    assert str(SoraError("Off.")) == "Off. Nothing was paid."


def test_a_pickled_error_says_the_same() -> None:
    error = SoraError("It waits.", key="ab", next_step=NextStep("wait"))
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (again.steps, str(again)) == (error.steps, str(error))


def test_an_error_that_was_pickled_with_a_sentence_still_says_it() -> None:
    state = {"message": "Off.", "video_id": None, "key": "ab", "paid": "no"}
    error = _rebuild(SoraError, "Off.", {**state, "next_step": "Mend it."})
    assert error.next_step == "Mend it."
    assert str(error) == "Off. (render ab) Nothing was paid. Mend it."


def test_commands_to_type_are_written_in_one_place() -> None:
    found = {
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(_without_docstrings(path))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.search(r"prefect-sora (resume|doctor|local|sweep)\b", node.value)
    }
    assert found == set()


def _without_docstrings(path: Path) -> ast.Module:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            node.body = node.body[1:] if ast.get_docstring(node) else node.body
    return tree
