"""Fixtures: a Prefect server with its UI on, and a Chromium that looks at it."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.support.prefect_server import serving

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # The pages also ask the wide world for fonts and news; they are looked at without.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


@pytest.fixture(scope="module")
def prefect_ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API's URL of a Prefect server of its own; both bundles of its UI stand beside it."""
    home = tmp_path_factory.mktemp("prefect-ui")
    with serving(
        home,
        PREFECT_SERVER_UI_ENABLED="true",
        PREFECT_SERVER_UI_STATIC_DIRECTORY=str(home / "bundles"),
    ) as api:
        yield api


# Of one module: while it runs, Playwright's loop is the thread's, and no async test can have one.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A Chromium with a fresh profile: the one at $CHROMIUM, or on the PATH."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        # A machine with nothing but Python passes the tests; CI must not pass without them.
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up(
            "These tests need a Chromium: `apt-get install chromium fonts-dejavu-core`, "
            "or set CHROMIUM to the path of one."
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_SWITCHES)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures of the pages go: $PREFECT_SORA_SCREENSHOTS, or a temporary folder."""
    chosen = os.environ.get("PREFECT_SORA_SCREENSHOTS")
    folder = Path(chosen) if chosen else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
