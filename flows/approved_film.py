"""Example: a cheap draft of a film, and its real shots once a person has approved it.

The run waits in Prefect's UI, where the draft is shown. Whoever resumes it says yes or no, and may
change the sound. What was rendered before is found again after any retry, and paid for once.
"""

from pathlib import Path
from typing import Annotated

from prefect import flow
from prefect.flow_runs import apause_flow_run
from prefect.input import RunInput
from pydantic import Field

from prefect_sora import StoredFilm, Storyboard, storyboard
from prefect_sora.blocks import Provider, Store
from prefect_sora.requests import storyboard as storyboards


class Approval(RunInput):
    """What whoever resumes the run is asked."""

    approved: bool = Field(default=False, description="Render the real shots, which costs more.")
    audio: str | None = Field(default=None, description="Path or URL of the film's sound.")


@flow(name="approved-film")
async def approved_film(
    board: Annotated[str | Path, Field(description="The storyboard's file.")],
    draft_provider: Annotated[Provider | str, Field(description="Who renders the draft.")],
    provider: Annotated[Provider | str, Field(description="Who renders the film.")],
    store: Store,
    draft_seconds: Annotated[int, Field(description="Length of a shot in the draft.")] = 4,
    hours: Annotated[float, Field(description="How long to wait for an answer.")] = 24,
) -> StoredFilm:
    """Render a draft, wait for a person, and render the film; without a yes the draft is it."""
    wanted = await storyboards.read(board)
    shots = tuple(
        shot.model_copy(update={"seconds": draft_seconds, "takes": 1, "use_take": 1})
        for shot in wanted.shots
    )
    draft = wanted.model_copy(update={"title": f"{wanted.title}, a draft", "shots": shots})
    film = await storyboard(draft, draft_provider, store)
    asked = Approval.with_initial_data(description=f"The draft: `{film.url}`")
    answer = await apause_flow_run(wait_for_input=asked, timeout=int(hours * 3600), poll_interval=1)
    if not answer.approved:
        return film
    if answer.audio:
        wanted = Storyboard.of({**wanted.model_dump(), "audio": answer.audio})
    return await storyboard(wanted, provider, store)
