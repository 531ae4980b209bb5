"""Features: what the page of features names is there."""

import re
from pathlib import Path

import pytest

import prefect_sora
from prefect_sora.cli import app

PAGE = (Path(__file__).parent.parent / "docs" / "features.md").read_text()
NAMED = sorted(set(re.findall(r"`([^`]+)`", PAGE)))
FLAGS = sorted(
    {flag for words in NAMED for flag in re.findall(r"(?<!\S)--[a-z-]+|(?<!\S)-[a-z]\b", words)}
)


def taken() -> set[str]:
    """All options of all commands."""
    commands = (app[name] for name in app if not name.startswith("-"))
    return {
        name
        for command in commands
        for argument in command.assemble_argument_collection()
        for name in argument.names
    }


def test_every_option_is_taken_by_a_command() -> None:
    assert FLAGS
    assert set(FLAGS) - taken() == set()


@pytest.mark.parametrize(
    "name", ["model_information", "download_video", "cancel_video", "retrieve_video", "list_videos"]
)
def test_every_function_can_be_imported(name: str) -> None:
    assert f"`{name}" in PAGE
    assert name in prefect_sora.__all__


def test_every_page_that_it_leads_to_is_there() -> None:
    for page in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert (Path(__file__).parent.parent / "docs" / page.partition("#")[0]).is_file()
