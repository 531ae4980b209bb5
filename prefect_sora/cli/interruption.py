"""Interruption: what goes on at the server after we have stopped, from the records."""

from prefect_sora.errors import SoraError
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.identity import title_slug
from prefect_sora.ledger import Ledger
from prefect_sora.storage import VideoFolder


async def what_goes_on(store: str, provider: str, prompt: str | None = None) -> str:
    """Say which renders of this process are unfinished, and how to go on with them.

    Args:
        store: Where its records are.
        provider: As --provider takes it.
        prompt: Look at renders of this prompt only.
    """
    ledger = Ledger(VideoFolder(store))
    try:
        states = await ledger.unfinished(title_slug(prompt) if prompt else None)
    except SoraError as error:
        return f"Stopped. What was begun is in the records of {store}, unless: {error}"
    mine = [s for s in states if s.reserved and s.reserved.owner.is_this_process()]
    if not mine:
        return "Stopped. Nothing was sent, so nothing was paid."
    said = []
    for state in mine:
        go_on = NextStep("wait", key=state.key, store=store, provider=provider)
        if state.accepted:
            job = state.accepted.job
            said.append(
                f"Video {job.video_id} (render {state.key}) goes on rendering at {job.provider} "
                f"and is paid for. {go_on.words()}"
            )
        elif state.is_image:
            said.append(
                f"The picture of render {state.key} may have been made and paid for. To look "
                f"whether it is kept: `{go_on.command}`."
            )
        else:
            said.append(
                f"Render {state.key} may have been accepted. To look for it: `{go_on.command}`."
            )
    return f"Stopped. Nothing was deleted. {' '.join(said)}"


async def still_unfinished(store: str, provider: str | None) -> str:
    """Say which renders of the store are unfinished after a resume was stopped."""
    states = await Ledger(VideoFolder(store)).unfinished()
    if not states:
        return "Stopped. Nothing is unfinished."
    keys = ", ".join(state.key for state in states)
    go_on = NextStep("wait", store=store, provider=provider).words()
    return f"Stopped. Nothing was deleted; still unfinished: {keys}. {go_on}"
