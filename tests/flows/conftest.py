"""Fixtures: who renders, and where it is kept, for a flow."""

from pathlib import Path

import pytest

from prefect_sora import OpenAICredentials, VideoStore
from tests.support.renderer import Renderer


@pytest.fixture
def provider(renderer: Renderer) -> OpenAICredentials:
    return OpenAICredentials(base_url=renderer.base_url)


@pytest.fixture
def store(tmp_path: Path) -> VideoStore:
    return VideoStore(url=str(tmp_path / "clips"))
