"""Limits of a test: `limit(download_attempts=1)` holds until it ends, in all threads and processes
that it starts."""

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from prefect_sora.limits import VARIABLE, limits

Limit = Callable[..., None]


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Limit:
    """Change limits of this process by their names."""

    def change(**changes: Any) -> None:
        before = json.loads(os.environ.get(VARIABLE, "{}"))
        monkeypatch.setenv(VARIABLE, json.dumps({**before, **changes}))
        limits()  # one that there is not is told of here

    return change
