"""Strange words: what a server or a prompt says is text, wherever people look."""

import csv
import io
import json
import logging
import re
import sys
from typing import Any

import pytest
from rich.table import Table

from prefect_sora.cli import redaction
from prefect_sora.cli.options import Shown
from prefect_sora.cli.screen import Screen
from prefect_sora.errors import RenderFailedError
from prefect_sora.errors.shown import as_csv, escaped, visible
from prefect_sora.renders.batches import results
from prefect_sora.renders.batches.results import Result
from prefect_sora.tasks.markdown import cells, code, plain, table

OSC_52 = "\x1b]52;c;cm0gLXJmIH4K\x07"
CONTROLS = [
    OSC_52,
    "\x1b[2J\x1b[H",
    "\x1b]0;your bank\x07",
    "\x9b2J",
    "\x9d0;t\x9c",
    "a\x08\x08b",
    "\rpaid",
]
CONTROLS += ["\u202etxt.exe", "\u2066x\u2069", "\u200f", "a\u2028b", "\ud83d", "\x7f", "\0"]

OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200f\u202e\u2066\u2069\u2028\ud800-\udfff]")

FORMULAS = [
    "=cmd|' /C calc'!A0",
    "@SUM(1+1)",
    "+cmd|x",
    "-2+3+cmd|x",
    "\t=1",
    "\n=1",
    "\uff1dA1",
    "=1+1",
]


@pytest.mark.parametrize("said", CONTROLS)
@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_terminal_is_told_nothing_that_it_would_obey(
    said: str,
    is_terminal: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    screen = Screen(Shown(debug=True))
    screen.result(f"video {said}")
    screen.note(said)
    screen.warn(said)
    screen.file(f"/clips/{said}.mp4")
    screen.trouble(RenderFailedError(said, video_id=said, next_step=said))
    shown = Table("Video")
    shown.add_row(said)
    screen.out.print(shown)
    told = capsys.readouterr()
    assert "video" in told.out
    own_colours = r"\x1b\[[\d;]*m"
    assert OBEYED.search(re.sub(own_colours, "", told.out + told.err)) is None


def test_the_screens_own_colours_are_obeyed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    Screen(Shown()).note("a kite", style="bold")
    assert "\x1b[1m" in capsys.readouterr().err


@pytest.mark.parametrize("said", CONTROLS)
def test_a_document_says_the_same_in_letters_that_no_terminal_obeys(
    said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Screen(Shown(json=True)).document({"video_id": said})
    out = capsys.readouterr().out
    assert OBEYED.search(out) is None
    assert json.loads(out) == {"video_id": said}
    assert escaped(json.dumps("für 🪁")) == json.dumps("für 🪁")


def test_a_log_line_is_one_line_of_letters(caplog: pytest.LogCaptureFixture) -> None:
    before = logging.getLogRecordFactory()
    try:
        redaction.guard_logs()
        logging.getLogger("prefect_sora").warning("video %s", OSC_52)
    finally:
        logging.setLogRecordFactory(before)
    assert OBEYED.search(caplog.records[-1].getMessage()) is None


@pytest.mark.parametrize("said", FORMULAS)
def test_a_spreadsheet_computes_nothing_of_what_a_server_or_a_row_says(said: str) -> None:
    result = Result(
        row=1,
        labels={said: said},
        outcome="failed",
        prompt=said,
        video_id=said,
        paid="no",
        error=said,
    )
    for text in (results.as_csv([result]).decode(), as_csv([said], [{said: said}])):
        for line in csv.reader(io.StringIO(text, newline="")):
            for cell in line:
                assert not cell.startswith(("=", "+", "-", "@", "\t", "\n", "\r", "\uff1d")), cell
    (raw,) = results.as_json_lines([result]).splitlines()
    assert json.loads(raw)["error"] == said, "programs read it as it was"


@pytest.mark.parametrize(
    "value", ["-12", "+49 170 123-45", "a=b", "kite", "-0.5", -3, 0.5, None, "für 🪁"]
)
def test_numbers_and_words_stand_in_a_spreadsheet_as_they_are(value: Any) -> None:
    (_, (cell,)) = csv.reader(io.StringIO(as_csv(["a"], [{"a": value}]), newline=""))
    assert cell == ("" if value is None else str(value))


LEAVING = [
    "x |\n\n![](https://evil.example/beacon.png)",
    "x\n\n# Pay again\n\n[here](https://evil.example)",
    "`|` ![](https://evil.example/b.png)",
    "a\\|b\\\\|c",
    "<img src=https://evil.example/b.png>",
    "\r\n| a | b |",
    "\u2028![](//evil.example)",
]


@pytest.mark.parametrize("said", LEAVING)
@pytest.mark.parametrize("written", [plain, code])
def test_words_stay_in_their_cell_of_a_page(said: str, written: Any) -> None:
    lines = table([("Video id", written(said)), ("Cost", "$1")]).splitlines()
    assert len(lines) == 3
    cell = lines[0].removeprefix("| Video\N{NO-BREAK SPACE}id | ").removesuffix(" |")
    assert re.search(r"(?<!\\)\||\\\\\|", cell) is None
    inside_code = cell.startswith("`") and cell.count("`") == 2
    if not inside_code:
        assert re.search(r"(?<!\\)[!\[<`]", cell) is None
    assert (cells([{"Video": said, "Take": 1}])[0]["Video"]).count("\n") == 0


@pytest.mark.parametrize(
    "said", ["https://evil.example", "www.evil.example", "WWW.evil.example", "you@evil.example"]
)
def test_no_reader_makes_a_link_of_a_strangers_words(said: str) -> None:
    assert re.search(r"(?<!\\)://|(?i:www)\.|\w@\w", plain(f"see {said}")) is None
    assert plain("a kite: 3 @ 4") == "a kite: 3 @ 4"


def test_emoji_and_other_scripts_are_shown_as_they_are() -> None:
    for text in ("👩‍👩‍👧 🏴󠁧󠁢󠁥󠁮󠁧󠁿", "سلام", "日本語\tx\n", "café"):
        assert visible(text) == text
