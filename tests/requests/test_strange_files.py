"""Strange files: what stands in a file that was not written here ends in a typed refusal, soon."""

import asyncio
import json
import resource
from pathlib import Path
from typing import Any

import fsspec
import pytest

from prefect_sora.errors import InvalidRequestError, PromptTemplateError
from prefect_sora.renders.batches import results
from prefect_sora.requests import files, prompts, storyboard
from prefect_sora.requests.image import ImageRequest
from prefect_sora.requests.shots import ShotPrompt
from prefect_sora.requests.table import Row, read_table, rows_of
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.server import remote
from prefect_sora.store.identity import fingerprint
from tests.support.limits import Limit

SERVER = remote("http://127.0.0.1:9/v1")


@pytest.fixture
def elsewhere() -> Any:
    """A server of files, and what its address is."""
    fs = fsspec.filesystem("memory")
    yield lambda name, text: (fs.pipe(f"/boards/{name}", text.encode()), f"memory://boards/{name}")[
        1
    ]
    fs.rm("/boards", recursive=True)


@pytest.fixture
def here(tmp_path: Path) -> str:
    """A file of this machine that nobody meant to send."""
    path = tmp_path / "notes.txt"
    path.write_text("the plans")
    return str(path)


OTHERS = ["{here}", "file://{here}", "~/notes.txt", "memory://others/a.png", "s3://boards/a.png"]
OTHERS += ["http://127.0.0.1:9/a.png", "zip://a.png::memory://boards/a.zip", "//boards/a.png"]


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize(
    "board",
    [
        "title: t\nshots: [{{prompt: {{subject: a, template: '{}'}}}}]",
        "title: t\nshots: [{{prompt: a, keyframe: '{}'}}]",
        "title: t\naudio: '{}'\nshots: [{{prompt: a}}]",
    ],
)
async def test_a_storyboard_from_elsewhere_names_files_from_there_alone(
    elsewhere: Any, here: str, board: str, name: str
) -> None:
    source = elsewhere("film.yaml", board.format(name.format(here=here)))
    with pytest.raises(InvalidRequestError, match="files from there alone"):
        await storyboard.read(source)


@pytest.mark.parametrize("name", OTHERS)
async def test_a_shot_and_a_table_from_elsewhere_name_files_from_there_alone(
    elsewhere: Any, here: str, name: str
) -> None:
    name = name.format(here=here)
    with pytest.raises(InvalidRequestError, match="files from there alone"):
        await prompts.read_shot(elsewhere("shot.yaml", f"subject: a\ntemplate: '{name}'"))

    lines = [
        {"prompt": "a", "reference": name},
        {"prompt": "b", "reference": "a.png", "image": name},
    ]
    source = elsewhere("table.jsonl", "\n".join(map(json.dumps, [*lines, {"prompt": "c"}])))
    one, two, three = await read_table(source)
    for row in (one, two):
        assert (row.request, len(row.problems)) == (None, 1)
        assert "files from there alone" in row.problems[0]
    assert three.request


@pytest.mark.parametrize("name", ["a.png", "pictures/a.png", "memory://boards/x/a.png", "data:,x"])
async def test_what_is_beside_a_file_from_elsewhere_and_on_its_server_may_be_named(
    elsewhere: Any, name: str
) -> None:
    board = await storyboard.read(
        elsewhere("b.yaml", f"title: t\nshots: [{{prompt: a, keyframe: '{name}'}}]")
    )
    assert board.shots[0].keyframe
    assert board.shots[0].keyframe.startswith(("memory://boards/", "data:"))
    (row,) = await read_table(elsewhere("t.csv", f'prompt,image\na,"{name}"\n'))
    assert row.request


async def test_what_a_person_has_here_names_what_it_likes(tmp_path: Path, here: str) -> None:
    path = tmp_path / "film.yaml"
    path.write_text(f"title: t\nshots: [{{prompt: {{subject: a, template: '{here}'}}}}]")
    for source in (path, f"file://{path}"):
        (request,) = await (await storyboard.read(source)).requests()
        assert request.prompt == "the plans"
    for same in ("https://u:p@a.example/b.yaml?sig=1", "HTTPS://A.example/x/../b.yaml"):
        assert files.seen_from(same, "https://a.example/c.png") == "https://a.example/c.png"


@pytest.mark.parametrize(
    "prompt",
    [
        "2026-13-45",
        "2026-01-01 99:99:99",
        "!!bool maybe",
        "!!int x",
        "!!timestamp x",
        "9" * 5000,
        "[" * 500_000,
        "&a [*a]",
    ],
)
async def test_yaml_that_makes_no_value_is_refused_with_its_line(
    tmp_path: Path, prompt: str
) -> None:
    path = tmp_path / "film.yaml"
    path.write_text(f"title: t\nshots:\n- prompt: {prompt}\n")
    with pytest.raises(InvalidRequestError, match=r"film\.yaml"):
        await storyboard.read(path)


async def test_half_a_character_is_no_prompt_of_a_shot(tmp_path: Path) -> None:
    path = tmp_path / "film.yaml"
    path.write_text('title: t\nshots:\n- prompt: "a \\ud83d"\n')
    board = await storyboard.read(path)
    with pytest.raises(InvalidRequestError, match="Shot 1"):
        await board.requests()


@pytest.mark.parametrize(
    "merged",
    ["[*{0},*{0},*{0},*{0},*{0},*{0},*{0},*{0},*{0}]", "{{<<: [*{0},*{0},*{0},*{0},*{0},*{0}]}}"],
)
async def test_aliases_that_explode_are_refused_before_they_are_written_out(
    tmp_path: Path, merged: str
) -> None:
    first = "  k0: &k0 {x: 1}\n" if "<<" in merged else "  k0: &k0 [x, x, x, x]\n"
    lines = [f"  k{n}: &k{n} {merged.format(f'k{n - 1}')}\n" for n in range(1, 12)]
    path = tmp_path / "film.yaml"
    path.write_text("title: t\nextra:\n" + first + "".join(lines) + "shots: [{prompt: a}]\n")
    async with asyncio.timeout(10):
        with pytest.raises(InvalidRequestError, match="aliases make more than"):
            await storyboard.read(path)


async def test_aliases_that_people_write_are_read(tmp_path: Path) -> None:
    path = tmp_path / "film.yaml"
    path.write_text(
        "title: t\nshots:\n- &a {prompt: a, seconds: 4}\n- {<<: *a, seconds: 8}\n- *a\n"
    )
    assert [shot.seconds for shot in (await storyboard.read(path)).shots] == [4, 8, 4]


def telling(rows: list[Row]) -> list[bool]:
    """Whether each row can be rendered; what is told of it can be written and its key be made."""
    told = [results.broken(row) for row in rows]
    assert results.as_csv(told)
    assert results.as_json_lines(told)
    for row in rows:
        if row.request:
            fingerprint(row.request, SERVER, "tonight", None)
            json.dumps(row.request.recorded, allow_nan=False).encode()
    return [row.request is not None for row in rows]


DEEP = "[" * 5000 + "]" * 5000
ODD: list[tuple[str, str]] = [
    ("csv", f'a,,"{{""x"": {DEEP}}}"'),
    ("csv", 'a,,"{""x"": ""\\ud83d""}"'),
    ("csv", 'a,,"{""x"": NaN}"'),
    ("csv", 'a,,"{""x"": %s}"' % ("9" * 5000)),
    ("csv", f"a,{'x' * 5000},"),
    ("csv", "a,~nobody-is-called-so/x.png,"),
    ("jsonl", '{"prompt": "a", "reference": "x\\u0000y"}'),
    ("jsonl", '{"prompt": "a \\ud83d"}'),
    ("jsonl", '{"prompt": "a", "id": "\\ud83d", "labels": 5}'),
    ("jsonl", '{"prompt": "a", "id": 1, "labels": [1]}'),
    ("jsonl", '{"prompt": "a", "image": "\\ud83d"}'),
    ("jsonl", '{"prompt": "a", "extra": {"\\ud83d": 1}}'),
    ("jsonl", '{"prompt": "a", "seconds": 1e999}'),
    ("jsonl", '{"prompt": "a", "x": %s}' % ("[" * 100_000)),
]


@pytest.mark.parametrize(("kind", "odd"), ODD, ids=range(len(ODD)))
async def test_an_odd_row_is_refused_by_itself_and_the_others_are_rendered(
    tmp_path: Path, kind: str, odd: str
) -> None:
    path = tmp_path / f"table.{kind}"
    plain = "b,," if kind == "csv" else '{"prompt": "b"}'
    header = "prompt,reference,extra\n" if kind == "csv" else ""
    path.write_text(f"{header}{odd}\n{plain}\n")
    rows = await read_table(path)
    assert telling(rows) == [False, True]
    assert len(rows[0].problems[0]) < 600


async def test_own_columns_of_any_kind_are_kept_as_far_as_files_can_tell_them() -> None:
    rows = rows_of([{"prompt": "a", "note": "\ud83d", "\ud83d": float("nan"), "id": {1, 2}}])
    assert telling(rows) == [False]
    assert telling(rows_of([{"prompt": "a", "note": "half: \ud83d"}])) == [True]


@pytest.mark.parametrize(
    "extra", [{"a": "\ud83d"}, {"\ud83d": 1}, {"a": float("inf")}, {"a": 10**5000}]
)
def test_what_no_server_can_read_is_no_request(extra: dict[str, Any]) -> None:
    for kind in (VideoRequest, ImageRequest):
        with pytest.raises(InvalidRequestError, match="extra"):
            kind.of(prompt="a", extra=extra)


ENDLESS = [
    "{{ 'a' * 9999999999 }}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}x",
    "{{ 'a'|center(9999999999) }}",
    "{{ '%9999999999d' % 1 }}",
    "{{ '{:>9999999999}'.format(1) }}",
    "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}x",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}",
    "{{ 9 ** (9 ** 9) }}",
]


@pytest.mark.slow
@pytest.mark.parametrize("text", ENDLESS, ids=range(len(ENDLESS)))
async def test_a_template_without_end_is_refused_within_its_bounds(
    tmp_path: Path, limit: Limit, text: str
) -> None:
    limit(template_seconds=3.0, template_memory_bytes=64 * 2**20)
    path = tmp_path / "own.j2"
    path.write_text(text)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with asyncio.timeout(60):
        with pytest.raises(PromptTemplateError, match=r"own\.j2"):
            await prompts.written(ShotPrompt(subject="a kite"), path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024
    path.write_text("{{ subject }}")
    assert await prompts.written(ShotPrompt(subject="a kite"), path) == "a kite"


async def test_templates_that_refer_to_ever_more_others_end(tmp_path: Path, limit: Limit) -> None:
    limit(template_files=3)
    for number in range(5):
        (tmp_path / f"{number}.j2").write_text(f"{{% include '{number + 1}.j2' %}}")
    with pytest.raises(PromptTemplateError, match="more than 3 others"):
        await prompts.written(ShotPrompt(subject="a kite"), tmp_path / "0.j2")
