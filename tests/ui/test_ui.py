"""UI: what a person sees of a render in Prefect's pages, in both of the UI's bundles.

The first bundle stands at the root, the second under `/v2`, where a new browser is led.
"""

import base64
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import httpx2
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect

from prefect_sora.media.previews import PREVIEW_SIDE
from prefect_sora.servers.local import RendererOptions
from tests.support.prefect_server import prefect_home
from tests.support.renderer import Renderer, until

pytestmark = [pytest.mark.browser, pytest.mark.slow]
expect.set_options(timeout=20_000)

Scheme = Literal["light", "dark"]

FIRST, SECOND = "", "/v2"
both_bundles = pytest.mark.parametrize(
    "bundle", [pytest.param(FIRST, id="first bundle"), pytest.param(SECOND, id="second bundle")]
)

KEPT: Final = (
    "1. A fox's **red** <b>kite</b> | [over](x) a_park_ &amp; `sea` #1\n"
    "and a second line that goes on, in so many words that no name has room for all of them"
)
TITLE: Final = "1. A fox's **red** <b>kite</b> | [over](x) a_park_ &amp; `s…"
WAITING: Final = "a paper boat that never arrives"
REFUSED: Final = "something that no server renders"

RENDERS: Final = """
import asyncio, sys
from prefect_sora import OpenAICredentials, text_to_video

async def main(base_url, store, *prompts):
    provider = OpenAICredentials(base_url=base_url)
    renders = [
        text_to_video(prompt, provider, store, model=None, size="640x360", seconds=2,
                      poll_interval_seconds=0.1)
        for prompt in prompts
    ]
    await asyncio.gather(*renders, return_exceptions=True)

asyncio.run(main(*sys.argv[1:]))
"""


@dataclass(frozen=True)
class Ui:
    """The pages of a server on which one render is kept, one waits and one was refused."""

    api: str
    windows: dict[Scheme, BrowserContext]
    screenshots: Path

    @property
    def root(self) -> str:
        """The address without `/api`."""
        return self.api.removesuffix("/api")

    def run(self, prompt: str) -> dict[str, Any]:
        """The flow run that renders a prompt."""
        runs = {run["parameters"]["prompt"]: run for run in self.all_of("flow_runs")}
        return runs[prompt]

    def artifacts(self, prompt: str, kind: str) -> list[dict[str, Any]]:
        """What the run of a prompt has put up so far."""
        run_id = self.run(prompt)["id"]
        found = [a for a in self.all_of("artifacts") if a["flow_run_id"] == run_id]
        return [a for a in found if a["type"] == kind]

    def open(self, bundle: str, path: str, scheme: Scheme = "light") -> Page:
        """Open a page in a tab of its own."""
        page = self.windows[scheme].new_page()
        page.goto(f"{self.root}{bundle}{path}")
        return page

    def keep(self, page: Page, name: str) -> None:
        """Keep a picture of the page, then close it."""
        bundle = "second" if urlsplit(page.url).path.startswith(SECOND) else "first"
        page.screenshot(path=self.screenshots / f"{name}-{bundle}.png")
        page.close()

    def all_of(self, kind: str) -> list[dict[str, Any]]:
        """All flow runs or artifacts."""
        answer = httpx2.post(f"{self.api}/{kind}/filter", json={}).raise_for_status()
        found: list[dict[str, Any]] = answer.json()
        return found


@pytest.fixture(scope="module")
def ui(
    chromium: Browser, prefect_ui: str, screenshots: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ui]:
    """A process of ours renders three prompts: one is kept, one waits for ever, one is refused."""
    home = tmp_path_factory.mktemp("renders")
    faults = [
        {"on": "create", "do": "stall", "match": WAITING},
        {"on": "create", "do": "moderate", "match": REFUSED},
    ]
    renderer = Renderer(home / "renderer", RendererOptions(faults=json.dumps(faults))).start()
    prompts = (KEPT, WAITING, REFUSED)
    process = subprocess.Popen(
        [sys.executable, "-c", RENDERS, renderer.base_url, str(home / "clips"), *prompts],
        stdin=subprocess.DEVNULL,
        env=prefect_home(home / "prefect", prefect_ui),
    )
    windows: dict[Scheme, BrowserContext] = {
        "light": _window(chromium, "light"),
        "dark": _window(chromium, "dark"),
    }
    ui = Ui(prefect_ui, windows, screenshots)

    def all_is_there() -> bool:
        assert process.poll() is None, "the renders ended before the one that waits"
        with suppress(httpx2.HTTPError):
            runs = ui.all_of("flow_runs")
            states = {run["parameters"]["prompt"]: run["state"]["type"] for run in runs}
            return states == {KEPT: "COMPLETED", WAITING: "RUNNING", REFUSED: "FAILED"} and any(
                artifact["data"] == 40.0 for artifact in ui.artifacts(WAITING, "progress")
            )
        return False

    try:
        until(all_is_there, "one render is kept, one waits, one is refused", 60)
        yield ui
    finally:
        process.kill()
        process.wait()
        renderer.kill()


def _window(browser: Browser, scheme: Scheme) -> BrowserContext:
    """A window with a new profile that shows light or dark pages."""
    window = browser.new_context(viewport={"width": 1280, "height": 1400}, color_scheme=scheme)
    # The first bundle asks no system what it prefers; it is dark unless told.
    window.add_init_script(f"localStorage.setItem('color-scheme', '\"{scheme}\"')")
    return window


@both_bundles
def test_the_page_of_a_run_names_its_steps_by_what_they_render(ui: Ui, bundle: str) -> None:
    page = ui.open(bundle, f"/runs/flow-run/{ui.run(KEPT)['id']}")
    page.get_by_text("Task Runs", exact=True).click()
    for step in ("submit", "wait", "persist"):
        expect(page.get_by_text(f"{step} · {TITLE}", exact=True).first).to_be_visible()
    ui.keep(page, "run")


@both_bundles
def test_the_page_of_a_run_that_waits_says_how_far_the_render_is(ui: Ui, bundle: str) -> None:
    page = ui.open(bundle, f"/runs/flow-run/{ui.run(WAITING)['id']}")
    expect(page.get_by_text("Running", exact=True).first).to_be_visible()
    page.get_by_text("Artifacts", exact=True).last.click()
    expect(page.get_by_text(f"40 % · {WAITING}").first).to_be_visible()
    ui.keep(page, "progress")


@both_bundles
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_of_a_clip_shows_it_moving_with_its_facts_and_the_prompt_as_typed(
    ui: Ui, bundle: str, scheme: Scheme
) -> None:
    (artifact,) = ui.artifacts(KEPT, "markdown")
    page = ui.open(bundle, f"/artifacts/artifact/{artifact['id']}", scheme)

    expect(page.get_by_role("heading", name=TITLE, exact=True)).to_be_visible()
    expect(page.get_by_text(f"{TITLE} · 640x360 · 2 s", exact=True)).to_be_visible()

    preview = page.get_by_role("img", name="preview")
    expect(preview).to_be_visible()
    page.wait_for_function("image => image.complete", arg=preview.element_handle())
    assert preview.evaluate("image => image.naturalWidth") == PREVIEW_SIDE
    _, _, data = str(preview.get_attribute("src")).partition(",")
    with Image.open(io.BytesIO(base64.b64decode(data))) as moving:
        assert getattr(moving, "n_frames", 1) > 1

    table = page.get_by_role("table")
    for fact in ("Video\N{NO-BREAK SPACE}id", "640 x 360, 2.00 s", "unknown"):
        expect(table.get_by_text(fact, exact=True)).to_be_visible()
    ui.keep(page, f"clip-{scheme}")


def test_the_clip_plays_in_the_first_bundle(ui: Ui) -> None:
    (artifact,) = ui.artifacts(KEPT, "markdown")
    page = ui.open(FIRST, f"/artifacts/artifact/{artifact['id']}")
    video = page.locator("video")
    expect(video).to_be_visible()

    video.evaluate("video => { video.muted = true; return video.play() }")
    page.wait_for_function("video => video.currentTime > 0.5", arg=video.element_handle())
    assert video.evaluate("video => [video.videoWidth, video.videoHeight]") == [640, 360]
    ui.keep(page, "clip-playing")


@both_bundles
def test_the_page_of_a_refused_run_says_why_and_what_to_do(ui: Ui, bundle: str) -> None:
    page = ui.open(bundle, f"/runs/flow-run/{ui.run(REFUSED)['id']}")
    why = "Your request was blocked by our moderation system"
    what_next = "Change the prompt or the reference; the same request is refused again."

    in_the_log = page.get_by_text(what_next).filter(has_text=why).first
    expect(in_the_log).to_be_visible()
    expect(page.locator("canvas").first).to_be_visible()  # the timeline, for the picture
    ui.keep(page, "refused")
