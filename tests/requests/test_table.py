"""Tables: what is wrong with any row is told with row and column, before anything is sent."""

import io
import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from prefect_sora.errors import BudgetExceededError, InvalidRequestError
from prefect_sora.renders.batches.plan import plan
from prefect_sora.requests.table import Row, read_table, refuse_broken, rows_of
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.server import remote
from prefect_sora.servers.video_prices import read_prices
from prefect_sora.store.backends import VideoFolder
from tests.support.s3 import S3

SERVER = remote("http://127.0.0.1:9/v1", prices=read_prices({"*": 0.1}))


async def rows(folder: Path, content: str | bytes, name: str = "t.csv", **more: Any) -> list[Row]:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return await read_table(file, **more)


def problems(found: list[Row]) -> list[str]:
    return [f"{row.where}: {', '.join(row.problems)}" for row in found if row.problems]


KITE = VideoRequest(prompt="a kite", model="wan", size="64x64", seconds=2, take=3)


def parquet(**columns: Any) -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", "prompt,model,size,seconds,take\na kite,wan,64x64,2,3\n"),
        ("t.CSV", "\ufeffprompt;model;size;seconds;take\r\na kite;wan;64x64;2;3\r\n"),
        ("t.tsv", "prompt\tmodel\tsize\tseconds\ttake\n\na kite\twan\t64x64\t2\t3"),
        ("t.csv", '"prompt", model ,size,seconds,take\n"a kite",wan,64x64,2,3\n'),
        ("t.jsonl", '{"prompt":"a kite","model":"wan","size":"64x64","seconds":2,"take":3}\n\n'),
        ("t.json", '[{"prompt":"a kite","model":"wan","size":"64x64","seconds":"2","take":3}]'),
        (
            "t.parquet",
            parquet(prompt=["a kite"], model=["wan"], size=["64x64"], seconds=[2.0], take=[3]),
        ),
    ],
    ids=["csv", "a spreadsheet's", "tabs", "quotes and spaces", "json lines", "json", "parquet"],
)
async def test_each_format_says_the_same(tmp_path: Path, name: str, content: str | bytes) -> None:
    (row,) = await rows(tmp_path, content, name)
    assert (row.request, row.problems, row.number) == (KITE, (), 1)


async def test_every_field_of_a_request_can_be_a_column(tmp_path: Path) -> None:
    (tmp_path / "kite.png").write_bytes(b"\x89PNG")
    content = (
        "prompt,aspect_ratio,image,fit,extra,characters,allow_unlisted\n"
        '"a ""red"" kite,\nin two lines",9:16,kite.png,contain,"{""seed"": 7}","a, b",yes\n'
    )
    (row,) = await rows(tmp_path, content)
    assert row.request is not None
    assert row.request.prompt == 'a "red" kite,\nin two lines'
    assert row.request.reference == tmp_path / "kite.png", "it lies beside the table"
    assert (row.request.size, row.request.fit) == ("720x1280", "contain")
    assert (row.request.extra, row.request.characters) == ({"seed": 7}, ("a", "b"))
    assert row.request.allow_unlisted
    assert row.where == "row 1 (line 3)"


async def test_what_a_row_does_not_say_is_the_default(tmp_path: Path) -> None:
    content = "prompt,model,seconds\na,,\nb,wan,2\n"
    one, two = await rows(tmp_path, content, defaults={"model": None, "seconds": 4})
    assert one.request is not None
    assert two.request is not None
    assert (one.request.model, one.request.seconds) == (None, 4)
    assert (two.request.model, two.request.seconds) == ("wan", 2)


async def test_all_broken_rows_are_told_with_row_and_column(tmp_path: Path) -> None:
    content = (
        "prompt,size,seconds,take,extra,kind\n"
        "a,64x64,2,,,\n"
        ",64x64,2,,,\n"
        "b,huge,x,,,\n"
        "c,64x64,0,-1,{,\n"
        "d,64x64\n"
        "e,64x64,2,,,remux\n"
        "f,64x64,2,,,remix\n"
    )
    found = await rows(tmp_path, content)
    assert problems(found) == [
        "row 2 (line 3): column prompt: is missing",
        "row 3 (line 4): column size: size 'huge' is neither WIDTHxHEIGHT in pixels, such as "
        "1280x720, nor one of 720p, 1024p, 1080p, column seconds: must be a whole "
        "number, not 'x'",
        "row 4 (line 5): column extra: it is no JSON: Expecting property name enclosed in double "
        "quotes: line 1 column 2 (char 1)",
        "row 5 (line 6): it has 2 cells, and the header has 6",
        "row 6 (line 7): column kind: must be one of 'create', 'remix', 'edit', 'extend' "
        "or 'existing', not 'remux'",
        "row 7 (line 8): kind='remix' needs source_video_id, the finished video",
    ]
    with pytest.raises(InvalidRequestError, match="6 of 7 rows cannot be rendered") as caught:
        refuse_broken(found)
    assert caught.value.message.count("row ") == 6
    assert "skip_bad_rows (--skip-bad-rows)" in str(caught.value.next_step)


async def test_of_very_many_broken_rows_the_first_are_told(tmp_path: Path) -> None:
    found = await rows(tmp_path, "prompt,take\n" + "a,0\n" * 50)
    with pytest.raises(InvalidRequestError, match=r"50 of 50 rows[\s\S]* and 30 more\."):
        refuse_broken(found)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", "", "is empty"),
        ("t.csv", "\n\n", "has no rows"),
        ("t.csv", "prompt,size\n", "has no rows"),
        ("t.jsonl", "\n", "has no rows"),
        ("t.json", "[]", "has no rows"),
        ("t.json", '{"prompt": "a"}', "is no list of objects"),
        ("t.json", "[", "is no JSON"),
        (
            "t.csv",
            "prompt,promt,colour\na,b,c\n",
            "unknown columns: 'promt' (is it prompt?).",
        ),
        ("t.csv", "prompt,Duration\na,4\n", "unknown columns: 'Duration' (is it seconds?)"),
        ("t.csv", "prompt,aspect\na,9:16\n", "unknown columns: 'aspect' (is it aspect_ratio?)"),
        ("t.csv", "prompt,image,reference\na,b,c\n", "has reference twice"),
        ("t.csv", "size,seconds\n64x64,2\n", "has no column prompt"),
        ("t.csv", b"prompt\na kite\ncaf\xe9\n", "line 3 has a byte that is none"),
        ("t.csv", "prompt\na\n".encode("utf-16"), "is not UTF-8 text: line 1"),
        ("t.csv", 'prompt\n"a kite\n', "is no CSV from line"),
        ("t.xlsx", "PK", "is none of .csv"),
        ("t.parquet", b"PAR1", "is no Parquet file"),
        ("t.parquet", parquet(promt=["a"]), "unknown columns: 'promt'"),
    ],
    ids=str,
)
async def test_a_file_that_is_no_table_says_why(
    tmp_path: Path, name: str, content: str | bytes, said: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await rows(tmp_path, content, name)
    assert said in caught.value.message
    assert f'The batch file "{tmp_path}/{name}"' in caught.value.message
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("name", "content", "labels"),
    [
        ("t.csv", "id,sku,prompt,Produkt\n7,4711,a kite,\n", {"id": "7", "sku": "4711"}),
        (
            "t.jsonl",
            '{"prompt": "a kite", "id": 7, "price": {"eur": 1.5}, "tags": ["a", null]}',
            {"id": 7, "price": {"eur": 1.5}, "tags": ["a", None]},
        ),
        (
            "t.parquet",
            parquet(prompt=["a kite"], day=[date(2026, 11, 21)], sku=[b"\x00"]),
            {"day": "2026-11-21", "sku": "b'\\x00'"},
        ),
    ],
    ids=["csv", "json lines", "parquet"],
)
async def test_columns_of_ones_own_go_with_the_row(
    tmp_path: Path, name: str, content: str | bytes, labels: dict[str, Any]
) -> None:
    (row,) = await rows(tmp_path, content, name)
    assert row.request
    assert row.labels == row.request.labels == labels
    assert row.where == {"t.csv": "row 1 (line 2), id 7", "t.jsonl": "row 1, id 7"}.get(
        name, "row 1"
    )
    assert json.loads(row.request.model_dump_json())["labels"] == labels


async def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"missing\.csv. does not exist"):
        await read_table(tmp_path / "missing.csv")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"prompt": "a"', "row 1: it is no JSON"),
        ("[1]", "row 1: it is no JSON object"),
        ('{"prompt": "a", "promt": 1}', "row 1: unknown columns: 'promt' (is it prompt?)"),
        ('{"prompt": 7}', "row 1: column prompt: is text, or the fields of a shot"),
    ],
)
async def test_a_broken_json_line_leaves_the_others(tmp_path: Path, line: str, said: str) -> None:
    found = await rows(tmp_path, f'{line}\n{{"prompt": "b"}}\n', "t.jsonl")
    assert problems(found)[0].startswith(said)
    assert found[1].request is not None


async def test_parquet_without_its_library_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InvalidRequestError, match=r"pip install 'prefect-sora\[parquet\]'"):
        await rows(tmp_path, parquet(prompt=["a"]), "t.parquet")


async def test_a_picture_that_is_not_there_is_a_broken_row(tmp_path: Path) -> None:
    found = await rows(tmp_path, "prompt,image\na,none.png\nb,https://x/none.png\n")
    assert problems(found) == [
        f'row 1 (line 2): column reference: the picture "{tmp_path}/none.png" does not exist'
    ]


async def test_a_table_is_read_from_where_the_videos_are(s3: S3) -> None:
    folder: VideoFolder = s3.folder()
    await folder.put("tables/t.jsonl", b'{"prompt": "a", "image": "kite.png"}\n')
    (row,) = await read_table(f"{folder.root}/tables/t.jsonl", options=folder.options)
    assert row.request is not None
    assert row.request.reference == f"{folder.root}/tables/kite.png"


def test_equal_rows_are_one_render_unless_their_take_differs() -> None:
    fields = {"prompt": "a", "model": "wan", "size": "64x64", "seconds": 1}
    planned = plan(rows_of([fields, fields, {**fields, "take": 2}, {**fields, "take": 1}]), SERVER)
    assert [row.number for row in planned.renders] == [1, 3]
    assert planned.first == {2: 1, 4: 1}
    assert str(planned) == "4 rows, 2 of them repeat another: 2 renders, $0.20"


def test_the_catalogue_looks_at_each_row_before_any_is_paid() -> None:
    table = rows_of([{"prompt": "a", "seconds": 5}, {"prompt": "b", "seconds": 8}])
    with pytest.raises(InvalidRequestError, match="row 1: sora-2 renders 4, 8, 12, 16 or 20"):
        plan(table, SERVER)
    planned = plan(table, SERVER, skip_bad_rows=True)
    assert ([row.number for row in planned.renders], len(planned.broken)) == ([2], 1)


def test_an_estimate_over_the_budget_is_refused_at_once() -> None:
    table = rows_of([{"prompt": "a", "model": "wan", "seconds": n} for n in (5, 6)])
    with pytest.raises(BudgetExceededError, match=r"2 renders would cost \$1.10") as caught:
        plan(table, SERVER, max_cost_usd=1.0)
    assert (caught.value.paid, caught.value.asked_usd) == ("no", 1.1)
    assert plan(table, SERVER, max_cost_usd=1.1).estimate.usd == 1.1


def test_an_unknown_price_is_refused_under_a_budget_with_its_row() -> None:
    unpriced = remote("http://127.0.0.1:9/v1")
    table = rows_of([{"prompt": "a"}, {"prompt": "b", "model": "wan"}])
    with pytest.raises(InvalidRequestError, match="row 2: There is a budget") as caught:
        plan(table, unpriced, max_cost_usd=100)
    assert "no price of wan" in caught.value.message
    assert plan(table, unpriced).estimate.unknown == 1


@pytest.mark.parametrize("skip", [True, False])
def test_a_batch_of_nothing_is_refused(skip: bool) -> None:
    with pytest.raises(InvalidRequestError, match="has no rows"):
        plan([], SERVER, skip_bad_rows=skip)
    with pytest.raises(InvalidRequestError, match="1 of 1 rows cannot be rendered"):
        plan(rows_of([{"prompt": ""}]), SERVER, skip_bad_rows=skip)


async def test_ten_thousand_rows_are_read_in_order(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps({"prompt": f"kite {n}", "seconds": 4}) for n in range(10_000))
    found = await rows(tmp_path, lines, "t.jsonl")
    assert [row.number for row in found] == [*range(1, 10_001)]
    assert plan(found, remote("http://127.0.0.1:9/v1")).estimate.usd == 4000.0
