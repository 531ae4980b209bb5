"""Scripted faults: each rule does what it says, as often as it says, in order."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from prefect_sora.servers.local.faults.rules import Fault, FaultError, Faults
from tests.support.renderer import Renderer, StartRenderer

SMALL = {"prompt": "a fox", "size": "64x64", "seconds": "1"}


@pytest.fixture
def client(renderer: Renderer) -> Iterator[httpx2.Client]:
    with renderer.client() as client:
        yield client


def test_a_status_comes_as_often_as_told_and_nothing_is_processed(
    renderer: Renderer, client: httpx2.Client
) -> None:
    renderer.faults(
        [{"on": "create", "do": "status:429", "times": 2, "headers": {"Retry-After": "7"}}]
    )

    refused = [client.post("/videos", json=SMALL) for _ in range(2)]

    assert [answer.status_code for answer in refused] == [429, 429]
    assert refused[0].headers["retry-after"] == "7"
    assert refused[0].json()["error"]["code"] == "rate_limit_exceeded"
    assert renderer.accepted() == 0
    assert client.post("/videos", json=SMALL).status_code == 200
    assert renderer.faults_left() == []


def test_a_status_may_name_its_code(renderer: Renderer, client: httpx2.Client) -> None:
    renderer.faults([{"on": "create", "do": "status:429:insufficient_quota"}])

    answer = client.post("/videos", json=SMALL)

    assert answer.json()["error"]["code"] == "insufficient_quota"


@pytest.mark.parametrize(("do", "accepted"), [("drop", 0), ("drop_after", 1)])
def test_a_dropped_create_is_cut_before_or_after_it_was_accepted(
    renderer: Renderer, client: httpx2.Client, do: str, accepted: int
) -> None:
    renderer.faults([{"on": "create", "do": do}])

    with pytest.raises(httpx2.RemoteProtocolError, match="without sending a response"):
        client.post("/videos", json=SMALL)

    assert renderer.accepted() == accepted
    assert len(client.get("/videos").json()["data"]) == accepted


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_cut_content_announces_its_whole_length(
    renderer: Renderer, client: httpx2.Client, size: int
) -> None:
    video_id = renderer.finished(renderer.create()["id"])["id"]
    path = f"/videos/{video_id}/content"
    whole = client.get(path).content
    renderer.faults([{"on": "content", "do": f"cut:{size}"}])

    arrived: list[bytes] = []

    def download() -> None:
        with client.stream("GET", path) as answer:
            assert answer.headers["content-length"] == str(len(whole))
            arrived.extend(answer.iter_bytes())

    with pytest.raises(httpx2.RemoteProtocolError):
        download()

    assert b"".join(arrived) == whole[:size]
    assert client.get(path).content == whole


def test_a_cut_beyond_the_end_cuts_nothing(renderer: Renderer, client: httpx2.Client) -> None:
    path = f"/videos/{renderer.finished(renderer.create()['id'])['id']}/content"
    renderer.faults([{"on": "content", "do": "cut:99999999"}])

    assert client.get(path).content == client.get(path).content


def test_short_content_is_a_whole_answer_of_half_a_video(
    renderer: Renderer, client: httpx2.Client
) -> None:
    path = f"/videos/{renderer.finished(renderer.create()['id'])['id']}/content"
    whole = client.get(path).content
    renderer.faults([{"on": "content", "do": "short:5000"}])

    answer = client.get(path)

    assert (answer.status_code, answer.content) == (200, whole[:5000])
    assert answer.headers["content-type"] == "video/mp4"


def test_garbage_and_html_answer_well_and_say_nothing(
    renderer: Renderer, client: httpx2.Client
) -> None:
    video_id = renderer.finished(renderer.create()["id"])["id"]
    renderer.faults(
        [
            {"on": "content", "do": "garbage"},
            {"on": "retrieve", "do": "html"},
            {"on": "retrieve", "do": "html:502"},
        ]
    )

    garbage = client.get(f"/videos/{video_id}/content")
    page, bad_page = (client.get(f"/videos/{video_id}") for _ in range(2))

    assert (garbage.status_code, garbage.headers["content-type"]) == (200, "video/mp4")
    assert b"ftyp" not in garbage.content
    assert (page.status_code, bad_page.status_code) == (200, 502)
    assert page.text.startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("do", "code"), [("fail", "render_failed"), ("moderate", "moderation_blocked")]
)
@pytest.mark.parametrize("on", ["create", "remix"])
def test_a_job_ends_failed_with_its_reason(
    renderer: Renderer, client: httpx2.Client, on: str, do: str, code: str
) -> None:
    parent = renderer.finished(renderer.create()["id"])
    renderer.faults([{"on": on, "do": do}])
    path = "/videos" if on == "create" else f"/videos/{parent['id']}/remix"

    video = renderer.finished(client.post(path, json=SMALL).json()["id"])

    assert video["status"] == "failed"
    assert video["error"]["code"] == code
    assert video["progress"] < 100
    assert client.get(f"/videos/{video['id']}/content").status_code == 404


def test_a_stalled_job_never_moves_again(renderer: Renderer, client: httpx2.Client) -> None:
    renderer.faults([{"on": "create", "do": "stall"}])
    stalled, free = renderer.create()["id"], renderer.create()["id"]
    renderer.finished(free)

    video = client.get(f"/videos/{stalled}").json()

    assert (video["status"], video["progress"]) == ("in_progress", 40)


@pytest.mark.parametrize(
    ("do", "word"), [("unknown_status", "dreaming"), ("unknown_status:x", "x")]
)
def test_a_status_may_be_a_word_that_nobody_knows(
    renderer: Renderer, client: httpx2.Client, do: str, word: str
) -> None:
    video_id = renderer.finished(renderer.create()["id"])["id"]
    renderer.faults([{"on": "retrieve", "do": do}, {"on": "list", "do": do}])

    assert client.get(f"/videos/{video_id}").json()["status"] == word
    assert [v["status"] for v in client.get("/videos").json()["data"]] == [word]
    assert client.get(f"/videos/{video_id}").json()["status"] == "completed"


@pytest.mark.parametrize(("do", "accepted"), [("delay:60", 0), ("delay_after:60", 1)])
def test_a_delay_outlasts_a_client_before_or_after_the_job_was_accepted(
    renderer: Renderer, client: httpx2.Client, do: str, accepted: int
) -> None:
    renderer.faults([{"on": "create", "do": do}])

    with pytest.raises(httpx2.ReadTimeout):
        client.post("/videos", json=SMALL, timeout=0.3)

    assert renderer.accepted() == accepted


def test_a_create_that_a_reset_overtakes_is_accepted_no_more(
    renderer: Renderer, client: httpx2.Client
) -> None:
    renderer.faults([{"on": "create", "do": "delay:0.5"}])
    with pytest.raises(httpx2.ReadTimeout):
        client.post("/videos", json=SMALL, timeout=0.1)
    renderer.reset()

    renderer.faults([{"on": "list", "do": "delay:0.7"}])
    client.get("/videos")  # past the time at which it would have been

    assert renderer.accepted() == 0


def test_after_a_delay_the_next_rule_applies(renderer: Renderer, client: httpx2.Client) -> None:
    renderer.faults([{"on": "list", "do": "delay:0.01"}, {"on": "list", "do": "status:503"}])

    assert client.get("/videos").status_code == 503
    assert client.get("/videos").status_code == 200


def test_rules_are_used_in_order_and_a_rule_without_times_stays(
    renderer: Renderer, client: httpx2.Client
) -> None:
    renderer.faults(
        [
            {"on": "list", "do": "status:500"},
            {"on": "list", "do": "status:502", "times": None},
        ]
    )

    assert [client.get("/videos").status_code for _ in range(4)] == [500, 502, 502, 502]
    assert [rule["do"] for rule in renderer.faults_left()] == ["status:502"]
    renderer.clear_faults()
    assert client.get("/videos").status_code == 200


def test_a_rule_may_mean_one_prompt_only(renderer: Renderer, client: httpx2.Client) -> None:
    fox, hen = (renderer.create(prompt)["id"] for prompt in ("a red fox", "a hen"))
    always = {"match": "fox", "times": None}
    renderer.faults(
        [{"on": on, "do": "status:500", **always} for on in ("create", "retrieve", "delete")]
    )

    assert client.get(f"/videos/{hen}").status_code == 200
    assert client.get(f"/videos/{fox}").status_code == 500
    assert client.post("/videos", json={**SMALL, "prompt": "an owl"}).status_code == 200
    assert client.post("/videos", json=SMALL).status_code == 500
    assert client.post("/videos", data=SMALL).status_code == 500
    assert client.delete(f"/videos/{fox}").status_code == 500


def test_a_rule_may_only_add_headers(renderer: Renderer, client: httpx2.Client) -> None:
    headers = {"openai-poll-after-ms": "1234"}
    renderer.faults([{"on": "create", "do": "pass", "headers": headers}])

    answer = client.post("/videos", json=SMALL)

    assert (answer.status_code, answer.headers["openai-poll-after-ms"]) == (200, "1234")


@pytest.mark.slow
def test_a_rule_may_be_met_by_chance_and_a_seed_repeats_it(
    renderer: Renderer, client: httpx2.Client
) -> None:
    rules = [{"on": "list", "do": "status:503", "times": None, "chance": 0.3}]

    def answers() -> list[int]:
        renderer.reset()
        sent = httpx2.post(f"{renderer.root}/faults", json={"faults": rules, "seed": 7})
        assert sent.json()["faults"][0]["chance"] == 0.3
        return [client.get("/videos").status_code for _ in range(100)]

    first = answers()

    assert set(first) == {200, 503}
    assert 15 <= first.count(503) <= 45
    assert answers() == first


def test_a_rule_that_is_not_met_by_chance_leaves_its_turn_to_the_next_and_its_times() -> None:
    faults = Faults()
    rare = {"on": "list", "do": "drop", "chance": 0.2, "times": 3}
    faults.add({"faults": [rare, {"on": "list", "do": "garbage", "times": None}], "seed": "s"})

    met = [fault.do for _ in range(60) for fault in faults.take("list", "")]

    assert len(met) == 60
    assert met.count("drop") == 3
    assert met[0] == "garbage"
    assert [rule.do for rule in faults.rules] == ["garbage"]


def test_what_was_met_is_counted_by_operation_and_deed(
    renderer: Renderer, client: httpx2.Client
) -> None:
    renderer.faults([{"on": "list", "do": "status:500", "times": 2}, {"on": "list", "do": "html"}])
    for _ in range(4):
        client.get("/videos")
    renderer.clear_faults()

    met = httpx2.get(f"{renderer.root}/faults").json()["met"]

    assert met == {"list status:500": 2, "list html": 1}
    renderer.reset()
    assert httpx2.get(f"{renderer.root}/faults").json()["met"] == {}


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param({"on": "lunch", "do": "drop"}, id="an unknown operation"),
        pytest.param({"on": "create", "do": "explode"}, id="an unknown deed"),
        pytest.param({"on": "create", "do": "status"}, id="a status without a number"),
        pytest.param({"on": "content", "do": "cut:some"}, id="a cut in words"),
        pytest.param({"on": "retrieve", "do": "stall"}, id="a fate on a mere question"),
        pytest.param({"on": "create", "do": "drop", "after": 3}, id="an unknown field"),
        pytest.param({"do": "drop"}, id="no operation"),
        pytest.param({"on": "list", "do": "drop", "times": 0}, id="never"),
        pytest.param({"on": "list", "do": "drop", "match": 7}, id="a match that is no text"),
        pytest.param({"on": "list", "do": "drop", "chance": 0}, id="no chance"),
        pytest.param({"on": "list", "do": "drop", "chance": 30}, id="a chance in percent"),
        pytest.param({"on": "list", "do": "drop", "chance": "often"}, id="a chance in words"),
        pytest.param("drop", id="no rule at all"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_and_none_of_its_list_is_kept(
    renderer: Renderer, rule: object
) -> None:
    answer = httpx2.post(f"{renderer.root}/faults", json=[{"on": "list", "do": "drop"}, rule])

    assert answer.status_code == 400
    assert renderer.faults_left() == []


def test_faults_can_be_given_at_the_start(start_renderer: StartRenderer, tmp_path: Path) -> None:
    rules = [{"on": "list", "do": "status:503", "times": None}]
    file = tmp_path / "faults.json"
    file.write_text(json.dumps({"faults": rules}), "utf-8")
    for script in (json.dumps(rules), str(file)):
        with start_renderer(faults=script).client() as client:
            assert client.get("/videos").status_code == 503


def test_a_script_is_read_from_text_or_file(tmp_path: Path) -> None:
    rule: dict[str, Any] = {"on": "list", "do": "drop"}

    assert Faults.read(None).rules == []
    assert Faults.read(json.dumps(rule)).rules == [Fault("list", "drop")]
    with pytest.raises(FaultError):
        Faults.read('[{"on": "list"}]')
    with pytest.raises(OSError, match="nowhere"):
        Faults.read(str(tmp_path / "nowhere"))


def test_requests_are_counted_by_operation(renderer: Renderer, client: httpx2.Client) -> None:
    video_id = renderer.create()["id"]
    headers = {"Idempotency-Key": "k", "Authorization": "Bearer secret", "Cookie": "secret"}
    client.get(f"/videos/{video_id}", params={"x": "1"}, headers=headers)
    client.get("/videos/unknown")

    entries = renderer.requests("retrieve")

    assert [entry["status"] for entry in entries] == [200, 404]
    assert entries[0]["path"] == f"/v1/videos/{video_id}"
    assert entries[0]["query"] == {"x": "1"}
    assert entries[0]["headers"]["idempotency-key"] == "k"
    assert "secret" not in json.dumps(entries)
    assert len(renderer.requests("create")) == 1
    renderer.forget_requests()
    assert renderer.requests() == []


def test_a_reset_leaves_nothing_of_the_test_before(renderer: Renderer) -> None:
    renderer.create(size="1280x720", seconds="12")
    renderer.faults([{"on": "list", "do": "drop"}])

    renderer.reset()

    assert renderer.requests() == []
    assert renderer.faults_left() == []
    assert set(renderer.counts().values()) == {0}
    assert not list((renderer.folder / "jobs").iterdir())
