"""Nightly clip: the day's prompt from a list, rendered, kept, and named in `latest.json`."""

import json
from datetime import date, datetime
from pathlib import Path
from typing import Annotated

from prefect import flow, task
from prefect.runtime import flow_run
from pydantic import Field

from prefect_sora import StoredVideo, text_to_video
from prefect_sora.blocks import Provider, Store, store_of
from prefect_sora.tasks.parameters import Model, PollIntervalSeconds, Seconds, Size, TimeoutSeconds

LATEST = "latest.json"


@flow(name="nightly-clip", flow_run_name=lambda: f"nightly clip · {_day():%Y-%m-%d}")
async def nightly_clip(
    provider: Provider,
    store: Store,
    prompts: Annotated[
        Path, Field(description="One prompt per line; a path from this file's folder.")
    ] = Path("prompts.txt"),
    day: Annotated[
        date | None, Field(description="Whose prompt; None: the day that the run is scheduled for.")
    ] = None,
    model: Model = "sora-2",
    size: Size = None,
    seconds: Seconds = 8,
    timeout_seconds: TimeoutSeconds = 3600,
    poll_interval_seconds: PollIntervalSeconds = 5,
) -> StoredVideo:
    """Render the day's prompt and name the clip in `latest.json`, beside the videos."""
    day = day or _day()
    prompt = prompt_of(day, Path(__file__).parent / prompts)
    clip = await text_to_video(
        prompt,
        provider,
        store,
        model=model,
        size=size,
        seconds=seconds,
        timeout_seconds=timeout_seconds,
        poll_interval_seconds=poll_interval_seconds,
    )
    await announce(day, prompt, clip, store)
    return clip


# Its result is kept: a run that is retried takes the same line, though the list was
# edited in between, and so the render that it has paid for.
@task(task_run_name="choose · {day}", persist_result=True)
def prompt_of(day: date, prompts: Path) -> str:
    """Take the day's line of the list, which starts again after its last."""
    lines = [line.strip() for line in prompts.read_text("utf-8").splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{prompts} holds no prompt.")
    return lines[day.toordinal() % len(lines)]


@task(task_run_name="announce · {day}")
async def announce(day: date, prompt: str, clip: StoredVideo, store: Store) -> None:
    """Replace `latest.json` in one step, unless it tells of a later day."""
    folder = store_of(store).folder
    standing = await folder.read(LATEST)
    if standing and json.loads(standing)["day"] > f"{day}":
        return
    latest = {"day": f"{day}", "prompt": prompt, "video": clip.model_dump()}
    await folder.put(LATEST, json.dumps(latest, indent=1).encode())


def _day() -> date:
    # Not today: a run that waited for a worker, or was retried, keeps its day.
    scheduled: datetime = flow_run.scheduled_start_time
    return scheduled.date()
