"""The contract: each dialect does what the table says, refuses what it lacks, and pays once."""

import asyncio
import base64
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from prefect_sora.renders.contract import BEHAVIOURS, Finding, check
from prefect_sora.renders.contract.accepted_jobs import never_made
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.local import RendererOptions
from prefect_sora.servers.profiles import PROFILES
from prefect_sora.servers.server import remote
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from tests.contract.dialects import DIALECTS, EXPECTED, PAGE, page
from tests.contract.provoking import provoking
from tests.support.renderer import Renderer

KEY = "sk-contract"
MODELS = {
    **dict.fromkeys(("openrouter", "together"), "local/kite"),
    "xai": "grok-imagine-video",
    "bifrost": "openai/kite",
}
"""Servers whose models' names are of a form, with one that the dialect has."""


@dataclass(frozen=True)
class Report:
    """What came of one dialect."""

    findings: dict[str, Finding]
    accepted: int
    posts: list[str]


@pytest.fixture(scope="session")
def _reports() -> dict[str, Report]:
    return {}


@pytest.fixture
def report(
    dialect: str, _reports: dict[str, Report], tmp_path_factory: pytest.TempPathFactory
) -> Report:
    """The contract of one dialect, tried once in a session."""
    if dialect not in _reports:
        _reports[dialect] = _tried(dialect, tmp_path_factory.mktemp(dialect))
    return _reports[dialect]


def _tried(dialect: str, folder: Path) -> Report:
    options = RendererOptions(control=True, poll_after_ms=20, dialect=dialect, api_key=KEY)
    renderer = Renderer(folder / "renderer", options).start()
    known = PROFILES["litellm-proxy" if dialect == "litellm" else dialect]
    # Nothing here takes seconds: a lost create is decided at once.
    profile = known.model_copy(update={"submit_grace_s": 0.3, "longest_create_s": 0.5})
    server = remote(
        renderer.base_url,
        api_key=SecretStr(KEY),
        profile=profile,
        auth="api-key" if dialect == "azure" else "bearer",
        prices=(("*", "*", 0.01),),
    )
    model = None if profile.own_model else MODELS.get(dialect, "test")
    size = "480x480" if dialect == "xai" else "64x64"  # it has no smaller one
    request = VideoRequest(prompt="a red kite", model=model, size=size, seconds=1)
    try:
        found = asyncio.run(
            check(
                server,
                Ledger(VideoFolder(str(folder / "store"))),
                request,
                provoke=provoking(renderer),
                poll_interval_seconds=0.05,
            )
        )
        made = ("create", "remix", "edit", "extend")
        posts = [one["operation"] for one in renderer.requests() if one["operation"] in made]
        return Report({one.behaviour: one for one in found}, renderer.accepted(), posts)
    finally:
        renderer.kill()


@pytest.mark.parametrize("behaviour", [one.name for one in BEHAVIOURS])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_cell_of_the_table_is_what_it_says(
    dialect: str, behaviour: str, report: Report
) -> None:
    found = report.findings[behaviour]

    assert found.outcome == EXPECTED[dialect][behaviour], found.said
    assert found.outcome != "refused" or found.said.startswith("before anything is sent")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_nothing_is_sent_twice_and_what_is_refused_not_at_all(dialect: str, report: Report) -> None:
    expected = EXPECTED[dialect]
    derived = [kind for kind in ("remix", "edit", "extend") if expected[kind] == "held"]
    # From text, from an image, under a wrong name, and three that meet a fault.
    assert sorted(report.posts) == sorted(["create"] * 6 + derived)
    refused = expected["wrong model"] == "held"
    assert report.accepted == len(report.posts) - refused


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_it_cost_is_told_of_each(dialect: str, report: Report) -> None:
    told = {name: one.cost_usd for name, one in report.findings.items() if one.cost_usd}

    assert told["create from text"] == told["create from image"] == 0.01
    assert told.get("extend", 0.04) == 0.04
    assert told.keys() <= {
        *("create from text", "create from image", "remix", "edit", "extend"),
        *("wrong model", "failing job", "moderation", "orphan recovery"),
    }


def test_the_table_in_the_docs_is_this_one() -> None:
    assert PAGE.read_text("utf-8") == page(), "python -m tests.contract.dialects writes it"


def wrapped(video_id: str) -> str:
    """An id as LiteLLM's proxy shows it."""
    inner = f"litellm:custom_llm_provider:openai;model_id:test;video_id:{video_id};deployment_id:0"
    return f"video_{base64.b64encode(inner.encode()).decode()}"


@pytest.mark.parametrize(
    ("known", "never"),
    [
        ("4b392ae6-0711-4330-b34a-9c34811821de", "4b392ae6-0711-4330-b34a-0c45922932de"),
        ("video_8d90ecd2b4794cc7", "video_9d01ecd3b5805cc8"),
        (wrapped("video_8d90ecd2b4794cc7"), wrapped("video_9d01ecd3b5805cc8")),
        ("v1", "video_0123456789abcdef0123456789abcdef"),
        (None, "video_0123456789abcdef0123456789abcdef"),
    ],
)
def test_an_id_that_was_never_made_looks_like_one_that_was(known: str | None, never: str) -> None:
    assert never_made(known) == never
