"""Storyboards: a film in shots is checked as a whole, and errors name shot and field."""

import json
from pathlib import Path
from typing import Any

import pytest

from prefect_sora.errors import InvalidRequestError, PromptTemplateError
from prefect_sora.requests import storyboard as storyboards
from prefect_sora.requests.shots import ShotPrompt
from prefect_sora.requests.storyboard import Shot, Storyboard, read

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "docs" / "storyboard.schema.json"
EXAMPLES = sorted((ROOT / "flows" / "storyboards").glob("*.yaml"))

A, B = {"prompt": "a kite"}, {"prompt": "a fox"}


def board(*shots: dict[str, Any], **fields: Any) -> Storyboard:
    return Storyboard.of({"title": "A film", "shots": shots, **fields})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        pytest.param({"shots": []}, "It has no shots: it needs one at least", id="no shots"),
        pytest.param({"shots": [A] * 201}, "It has 201 shots; 200 are the most", id="too many"),
        pytest.param({"shots": "a kite"}, "shots: must be a list", id="no list"),
        pytest.param({"shots": [A, {}]}, "Shot 2, prompt: is missing", id="no prompt"),
        pytest.param({"shots": [A, {"prompt": 3}]}, "Shot 2, prompt: is text, or", id="a number"),
        pytest.param(
            {"shots": [A, {"prompt": {"subject": "x", "lense": "y"}}]},
            "Shot 2, prompt.lense: is an unknown field",
            id="a misspelt field of a shot",
        ),
        pytest.param(
            {"shots": [A, {**B, "takes": 0}]},
            "Shot 2, takes: must be 1 or more, not 0",
            id="no takes",
        ),
        pytest.param({"shots": [{**A, "takes": 21}]}, "Shot 1, takes", id="many takes"),
        pytest.param(
            {"shots": [{**A, "takes": 2, "use_take": 3}]},
            "Shot 1: use_take 3 is not one of 2 takes",
            id="no such take",
        ),
        pytest.param(
            {"shots": [A, {**B, "size": "720p"}]},
            "Shot 2, size: is the same for all shots of a film",
            id="mixed sizes",
        ),
        pytest.param({"shots": [A], "size": "wide"}, "size 'wide' is neither", id="no size"),
        pytest.param({"shots": [A], "aspect_ratio": "2:1"}, "is not one of 16:9", id="no ratio"),
        pytest.param(
            {"shots": [A], "chain": "loop"},
            "chain: must be one of 'last_frame' or 'parallel', not 'loop'",
            id="no such chain",
        ),
        pytest.param(
            {"shots": [{**A, "continuity": "last_frame"}]},
            "Shot 1 has no shot before it",
            id="nothing to go on from",
        ),
        pytest.param(
            {"shots": [A, {**B, "keyframe": "fox.png"}], "chain": "last_frame"},
            "Shot 2 has a keyframe, and by the storyboard's chain it begins with the last frame of "
            "shot 1: give it `continuity: cut`, or leave the keyframe out",
            id="two first frames, by the chain",
        ),
        pytest.param(
            {"shots": [A, {**B, "keyframe": "fox.png", "continuity": "last_frame"}]},
            "Shot 2 has a keyframe, and by its continuity it begins",
            id="two first frames, by the shot",
        ),
        pytest.param({"shots": [A], "title": " "}, "title: is empty", id="no title"),
        pytest.param({"shots": [A], "fps": 24}, "fps: is an unknown field", id="a typo"),
    ],
)
def test_what_cannot_be_filmed_says_which_shot_and_field(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        Storyboard.of({"title": "A film", **fields})
    assert said in caught.value.message
    assert caught.value.paid == "no"


def test_a_list_is_no_storyboard() -> None:
    with pytest.raises(InvalidRequestError, match="It must be fields with their names"):
        Storyboard.of([A])


def test_several_errors_are_told_at_once() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        board({}, {**A, "takes": 0}, chain="loop")
    for said in ("Shot 1, prompt", "Shot 2, takes", "not 'loop'"):
        assert said in caught.value.message


@pytest.mark.parametrize(
    ("chain", "continuities", "chains"),
    [
        ("parallel", [None, None, None], [[1], [2], [3]]),
        ("last_frame", [None, None, None], [[1, 2, 3]]),
        ("parallel", [None, "last_frame", None], [[1, 2], [3]]),
        ("last_frame", [None, "cut", None], [[1], [2, 3]]),
        ("last_frame", ["cut", None, None], [[1, 2, 3]]),
    ],
)
def test_shots_that_wait_for_one_another_are_one_chain(
    chain: str, continuities: list[str | None], chains: list[list[int]]
) -> None:
    shots = [{**A, "continuity": continuity} for continuity in continuities]
    assert board(*shots, chain=chain).chains() == chains


def test_a_keyframe_may_begin_a_chain_and_a_cut_in_it() -> None:
    cut = {**B, "keyframe": "b.png", "continuity": "cut"}
    made = board({**A, "keyframe": "a.png"}, B, cut, chain="last_frame")
    assert made.chains() == [[1, 2], [3]]


async def test_a_shot_asks_for_what_the_storyboard_says_unless_it_says_otherwise() -> None:
    made = board(
        A,
        {**B, "seconds": 12, "model": "sora-2-pro", "keyframe": "fox.png"},
        size="720p",
        aspect_ratio="9:16",
        seconds=4,
        fit="contain",
        extra={"fps": 24},
    )
    one, two = await made.requests()
    assert (one.prompt, one.model, one.size, one.seconds) == ("a kite", "sora-2", "720x1280", 4)
    assert (two.model, two.size, two.seconds) == ("sora-2-pro", "720x1280", 12)
    assert (one.reference, two.reference) == (None, "fox.png")
    assert two.fit == "contain"
    assert two.extra == {"fps": 24}


async def test_a_shot_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "own.j2").write_text("{{ mood }}")
    shot = {"prompt": {"subject": "x", "template": str(tmp_path / "own.j2")}}
    with pytest.raises(PromptTemplateError, match=r"^Shot 2: The template") as caught:
        await board(A, shot).requests()
    assert str(caught.value).startswith("Shot 2: ")


async def test_a_file_of_yaml_or_json_is_read_and_its_paths_are_seen_from_there(
    tmp_path: Path,
) -> None:
    yaml = tmp_path / "film.yaml"
    yaml.write_text(
        "title: A film\naudio: music.mp3\nshots:\n"
        "- prompt: a kite\n  keyframe: pictures/kite.png\n"
        "- prompt: {subject: a fox, template: own.j2}\n  keyframe: s3://bucket/fox.png\n"
        f"- prompt: a heron\n  keyframe: {tmp_path}/heron.png\n"
    )
    made = await read(yaml)
    assert [shot.keyframe for shot in made.shots] == [
        f"{tmp_path}/pictures/kite.png",
        "s3://bucket/fox.png",
        f"{tmp_path}/heron.png",
    ]
    assert made.audio is not None
    assert (made.audio.source, made.audio.fade_seconds) == (f"{tmp_path}/music.mp3", 1.0)
    fox = made.shots[1].prompt
    assert isinstance(fox, ShotPrompt)
    assert fox.template == f"{tmp_path}/own.j2"
    as_json = tmp_path / "film.json"
    as_json.write_text(json.dumps(made.model_dump(mode="json")))
    assert await read(str(as_json)) == made


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title: x\nshots:\n- prompt: a kite\n  takes: [", "in line 4, column 11"),
        ("title: x\nshots: []\n", 'The storyboard file "'),
        ("", "is empty"),
    ],
)
async def test_a_file_that_is_no_storyboard_says_where(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "film.yaml"
    path.write_text(text)
    with pytest.raises(InvalidRequestError) as caught:
        await read(path)
    assert said in caught.value.message
    assert "film.yaml" in caught.value.message


def test_a_shot_is_called_by_its_title_or_its_prompts_beginning() -> None:
    assert Shot(prompt="a kite", title="Above").name == "Above"
    assert Shot(prompt=ShotPrompt(subject="a kite", action="falls")).name == "a kite falls"


def test_the_published_schema_is_the_current_one() -> None:
    assert json.loads(SCHEMA.read_text()) == storyboards.schema(), (
        "prefect-sora storyboard --schema > docs/storyboard.schema.json"
    )


def test_every_field_of_the_schema_is_explained() -> None:
    schema = storyboards.schema()
    for name in ("Shot", "ShotPrompt"):
        for field, said in schema["$defs"][name]["properties"].items():
            assert said["description"].endswith("."), field
    assert all(said["description"] for said in schema["properties"].values())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
async def test_an_example_is_a_storyboard_and_names_its_schema(path: Path) -> None:
    made = await read(path)
    assert len(await made.requests()) == len(made.shots) >= 3
    named = path.read_text().splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / named).resolve() == SCHEMA
