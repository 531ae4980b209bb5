"""Prompts: a shot's fields become prose, by the package's template or the user's own."""

import json
from pathlib import Path
from typing import Any, get_args

import fsspec
import pytest
from pydantic import ValidationError

from prefect_sora.errors import InvalidRequestError, PromptTemplateError
from prefect_sora.requests.prompts import read_shot, shipped_names, written
from prefect_sora.requests.shot_words import CAMERA_MOVEMENTS, CameraMovement
from prefect_sora.requests.shots import ShotPrompt, prose
from prefect_sora.requests.video import MAX_PROMPT_CHARACTERS, VideoRequest
from prefect_sora.servers.server import remote
from prefect_sora.store.identity import request_digest
from tests.support.limits import Limit

EVERYTHING = ShotPrompt(
    subject="a red kite",
    action="circles, folds its wings and drops",
    shot_type="wide shot",
    camera_angle="low angle",
    camera_movement="dolly in",
    lens="85 mm",
    depth_of_field="shallow",
    setting="a grassy park",
    time_of_day="golden hour",
    weather="light rain",
    atmosphere="calm",
    style="16 mm film",
    color_grading="muted greens",
    physics="feathers flutter",
    motion_quality="smooth",
    particles="dust",
    continuity="the same bird",
    sound="wind",
)


def template(folder: Path, text: str, name: str = "own.j2") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_every_field_becomes_part_of_one_readable_paragraph() -> None:
    assert EVERYTHING.text() == (
        "A red kite circles, folds its wings and drops. Wide shot, low angle. The camera dollies in"
        " slowly towards the subject. 85 mm lens, shallow depth of field. Setting: a grassy park,"
        " golden hour, light rain. Atmosphere: calm. Style: 16 mm film. Colour grading: muted"
        " greens. Physics: feathers flutter. Motion: smooth. In the air: dust. Continuity: the same"
        " bird. Sound: wind."
    )


def test_what_is_left_out_leaves_no_trace() -> None:
    assert ShotPrompt(subject="a red kite").text() == "A red kite."
    assert ShotPrompt(subject="a kite", weather="fog").text() == "A kite. Fog."
    assert ShotPrompt(subject="a kite", depth_of_field="rack focus").text() == "A kite. Rack focus."


def test_a_users_words_are_neither_markup_nor_template() -> None:
    assert ShotPrompt(subject='<b>"{{ 7 * 7 }}" & co').text() == '<b>"{{ 7 * 7 }}" & co.'


def test_every_camera_movement_has_its_phrase_and_each_phrase_its_movement() -> None:
    assert set(CAMERA_MOVEMENTS) == set(get_args(CameraMovement))
    assert len(set(CAMERA_MOVEMENTS.values())) == len(CAMERA_MOVEMENTS)
    for movement, phrase in CAMERA_MOVEMENTS.items():
        shot = ShotPrompt(subject="a kite", camera_movement=movement)
        assert shot.text() == f"A kite. {phrase[0].upper()}{phrase[1:]}."


@pytest.mark.parametrize("name", sorted(ShotPrompt.model_fields))
def test_a_form_can_explain_every_field(name: str) -> None:
    described = ShotPrompt.model_json_schema()["properties"][name]["description"]
    assert described.endswith(".")


def test_a_request_takes_a_shot_and_is_the_request_of_its_text() -> None:
    by_text = VideoRequest(prompt=EVERYTHING.text())
    server = remote("http://127.0.0.1:9/v1")
    for prompt in (EVERYTHING, EVERYTHING.model_dump(), EVERYTHING.model_dump(exclude_none=True)):
        request = VideoRequest.of(prompt=prompt)
        assert request == by_text
        assert request_digest(request, server, None) == request_digest(by_text, server, None)


@pytest.mark.parametrize(
    ("shot", "said"),
    [
        (
            {"subject": "a kite", "camera_movement": "doly in"},
            "not 'doly in'",
        ),
        ({"subject": "a kite", "wether": "rain"}, "prompt.wether is an unknown field"),
        ({"subject": "  "}, "prompt.subject"),
        ({"action": "falls"}, "prompt.subject"),
        ({"subject": "a kite", "template": "own.j2"}, "has to be read first"),
        ({"subject": "a" * MAX_PROMPT_CHARACTERS}, "32,000 at most"),
    ],
    ids=["a misspelt movement", "a misspelt field", "blank", "no subject", "unread", "too long"],
)
def test_a_shot_that_cannot_be_sent_says_which_field(shot: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        VideoRequest.of(prompt=shot)
    assert said in caught.value.message


def test_other_names_of_a_field_are_the_field() -> None:
    by_other_names = ShotPrompt.model_validate(
        {
            "subject": "a kite",
            "location": "a park",
            "dof": "shallow",
            "visual_style": "16 mm film",
            "physics_elements": "feathers flutter",
            "continuity_notes": "the same bird",
        }
    )
    assert by_other_names == ShotPrompt(
        subject="a kite",
        setting="a park",
        depth_of_field="shallow",
        style="16 mm film",
        physics="feathers flutter",
        continuity="the same bird",
    )
    with pytest.raises(ValidationError, match="dof is another name of depth_of_field"):
        ShotPrompt.model_validate({"subject": "x", "dof": "deep", "depth_of_field": "shallow"})


@pytest.mark.parametrize(
    ("field", "spelt", "word"),
    [
        ("camera_movement", "dolly_in", "dolly in"),
        ("camera_movement", "Steadicam", "steadicam"),
        ("shot_type", "close up", "close-up"),
        ("camera_angle", "birds eye view", "bird's-eye view"),
        ("depth_of_field", "shallow depth of field", "shallow"),
    ],
)
def test_a_word_of_a_list_is_understood_however_it_is_spelt(
    field: str, spelt: str, word: str
) -> None:
    assert getattr(ShotPrompt.model_validate({"subject": "x", field: spelt}), field) == word


async def test_the_shipped_defaults_fill_in_what_is_not_said_and_nothing_else() -> None:
    shot = ShotPrompt(subject="a kite", lens="85 mm", template="sora_shot_prompt_defaults")
    text = await written(shot)
    for said in ("Medium shot, eye level", "85 mm lens, shallow depth", "Golden hour"):
        assert said in text
    assert "50mm" not in text
    assert await written(EVERYTHING, "sora_shot_prompt_defaults") == EVERYTHING.text()
    assert await written(EVERYTHING, "sora_shot_prompt") == EVERYTHING.text()
    assert shipped_names() == ["sora_shot_prompt", "sora_shot_prompt_defaults"]


async def test_a_template_knows_fields_by_their_other_names(tmp_path: Path) -> None:
    own = template(tmp_path, "{{ location }}, {{ dof }}, {{ visual_style }}")
    assert await written(EVERYTHING, own) == "a grassy park, shallow, 16 mm film"


async def test_a_template_of_ones_own_sees_all_fields_and_may_use_the_packages(
    tmp_path: Path,
) -> None:
    template(tmp_path, "{% macro loud(x) %}{{ x | upper }}!{% endmacro %}", "macros.j2")
    own = template(
        tmp_path,
        '{% from "macros.j2" import loud %}\n{% set who = subject %}\n'
        "Film   noir:\n\n\n\n  {{ loud(who) }} ({{ movement }})\n"
        '{% if lens %}- {{ lens }}\n{% endif %}{% include "sora_shot_prompt.j2" %}\n',
    )
    shot = ShotPrompt(subject="a kite", camera_movement="static", template=own)
    noir = "Film noir:\n\nA KITE! (static)\nA kite. The camera stands still on a tripod."
    assert await written(shot) == noir
    assert await written(shot, template(tmp_path, "{{ subject }}", "plain.j2")) == "a kite"
    assert await written("a kite as it is  ") == "a kite as it is  "


async def test_templates_are_read_from_any_file_system(tmp_path: Path) -> None:
    files = fsspec.filesystem("memory")
    files.pipe_file("/noir/own.j2", b'{% include "other.j2" %} at night')
    files.pipe_file("/noir/other.j2", b"{{ subject }}")
    try:
        assert await written(ShotPrompt(subject="a kite", template="memory://noir/own.j2")) == (
            "a kite at night"
        )
        with pytest.raises(PromptTemplateError, match="does not exist") as caught:
            await written(ShotPrompt(subject="a kite", template="memory://noir/nope.j2"))
        assert caught.value.next_step == "Name one of other.j2, own.j2."
    finally:
        files.rm("/noir", recursive=True)


@pytest.mark.parametrize(
    ("text", "said", "next_step"),
    [
        ("{{ subject }} {{ mood }}", "uses mood, which a shot does not have", "subject, action"),
        ("{% if lens %}{{ mood }}{% endif %}", "uses mood", "subject, action"),
        ("one\n{% if subject %}", "has an error in line 2: Unexpected end", "Correct it"),
        ("{# nothing #}\n  {{ lens }}", "renders to nothing", "the subject"),
        ("{{ 'x' * 32001 }}", "more than 32,000 characters", "Shorten it"),
        (
            "{% for i in range(99999) %}{% for j in range(99999) %}ha {% endfor %}{% endfor %}",
            "more than 32,000 characters",
            "Shorten it",
        ),
        (
            "{{ subject.__class__.__mro__ }}",
            "cannot be rendered: access to",
            "Correct it",
        ),
        ("{{ subject.colour }}", "cannot be rendered: 'str object' has no", "Correct it"),
        ("{{ 1 // 0 }}", "cannot be rendered", "Correct it"),
        ('{% include "nope.j2" %}', "does not exist", "Name one of own.j2"),
        ('{% include "../own.j2" %}', "not in its own folder", "in quotes"),
        ("{% include subject %}", "not in its own folder", "in quotes"),
    ],
)
async def test_a_template_that_makes_no_prompt_says_why_and_what_to_do(
    tmp_path: Path, text: str, said: str, next_step: str
) -> None:
    shot = ShotPrompt(subject="a kite", template=template(tmp_path, text))
    with pytest.raises(PromptTemplateError) as caught:
        await written(shot)
    assert said in caught.value.message
    assert next_step in str(caught.value.next_step)
    assert caught.value.paid == "no"


async def test_a_template_that_is_no_text_or_too_large_is_not_read(
    tmp_path: Path, limit: Limit
) -> None:
    (tmp_path / "own.j2").write_bytes(b"\xff\xfe{{ subject }}")
    with pytest.raises(PromptTemplateError, match="is not UTF-8 text"):
        await written(ShotPrompt(subject="a kite", template=str(tmp_path / "own.j2")))
    with pytest.raises(PromptTemplateError, match="is a folder") as caught:
        await written(ShotPrompt(subject="a kite", template=str(tmp_path)))
    assert caught.value.next_step == "Name one of own.j2."
    limit(template_max_bytes=10)
    with pytest.raises(PromptTemplateError, match="is larger than"):
        await written(ShotPrompt(subject="a kite", template=template(tmp_path, "x" * 11)))


async def test_a_text_takes_no_template(tmp_path: Path) -> None:
    with pytest.raises(PromptTemplateError, match="is for a shot"):
        await written("a kite", template(tmp_path, "{{ subject }}"))


async def test_what_is_secret_in_a_templates_url_stays_so() -> None:
    url = "http://me:pass@127.0.0.1:9/own.j2?sig=canary"
    with pytest.raises(PromptTemplateError) as caught:
        await written(ShotPrompt(subject="a kite", template=url))
    assert "http://127.0.0.1:9/own.j2" in caught.value.message
    assert not {"pass", "canary"} & set(str(caught.value).replace("@", " ").split())
    assert "canary" not in str(caught.value)


async def test_a_shot_is_read_from_yaml_or_json(tmp_path: Path) -> None:
    fields = EVERYTHING.model_dump(exclude_none=True)
    (tmp_path / "shot.json").write_text(json.dumps(fields, indent="\t"))
    (tmp_path / "shot.yaml").write_text("".join(f"{n}: {v}\n" for n, v in fields.items()))
    assert await read_shot(tmp_path / "shot.json") == EVERYTHING
    assert await read_shot(str(tmp_path / "shot.yaml")) == EVERYTHING


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("subject: a kite\nwether: rain", "is no shot: wether is an unknown field"),
        ("- a kite", "is no shot"),
        ("subject: a kite\n  action: [x", "in line 2, column 9"),
        ("", "is empty"),
        ("a: !!python/object/apply:os.getcwd []", "neither YAML nor JSON in line 1"),
        ("\x00", "neither YAML nor JSON"),
    ],
)
async def test_a_file_that_is_no_shot_says_where(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "shot.yaml").write_text(text)
    with pytest.raises(InvalidRequestError) as caught:
        await read_shot(tmp_path / "shot.yaml")
    assert said in caught.value.message


def test_prose_has_single_spaces_and_one_empty_line_at_most() -> None:
    assert prose("\n\n a  b \n\n\n\t c\nd \n\n") == "a b\n\nc\nd"
    assert prose(" \n ") == ""


def test_a_shot_is_frozen() -> None:
    with pytest.raises(ValidationError):
        EVERYTHING.subject = "another"  # type: ignore[misc]  # which the test is about
