"""Mishaps: behaviours when a job fails, is refused by moderation, or its answer is lost."""

from prefect_sora.errors import ModerationError, RenderFailedError, UncertainSubmitError
from prefect_sora.renders.contract.trial import Trial, Verdict, expect


async def failing_job(trial: Trial) -> Verdict:
    """A job that fails is told as one, with the server's reason."""
    trial.the_job()
    await trial.provoked("fail")
    try:
        await trial.render(trial.clip("A kite that tears."))
    except ModerationError as error:
        return "failed", f"taken for moderation: {error.message}"
    except RenderFailedError as error:
        return "held", error.message
    return "failed", "a video came of it"


async def moderation(trial: Trial) -> Verdict:
    """A refusal by moderation is told from a failure, and not sent again."""
    trial.the_job()
    await trial.provoked("moderate")
    request = trial.clip("A kite that nobody may see.")
    try:
        await trial.render(request)
    except ModerationError as error:
        before, said = trial.client.posts, error.message
    except RenderFailedError as error:
        return "failed", f"taken for a failure: {error.message}"
    else:
        return "failed", "a video came of it"
    try:
        await trial.submit(request)
    except ModerationError:
        expect(trial.client.posts == before, "the same request was sent again")
        return "held", said
    return "failed", "the same request was accepted again"


async def orphan_recovery(trial: Trial) -> Verdict:
    """A job whose create got no answer is adopted, or a person is asked; it is paid once."""
    trial.the_job()
    await trial.provoked("lose")
    request, before = trial.clip("A kite that flies away."), trial.client.posts
    try:
        video = await trial.render(request)
    except UncertainSubmitError as error:
        expect(error.paid == "unknown", f"whether it was paid is said to be {error.paid!r}")
        said = error.message
    else:
        expect(trial.client.posts == before + 1, "it was sent again")
        return "held", f"found again as {video.video_id}"
    try:
        await trial.submit(request)
    except UncertainSubmitError:
        expect(trial.client.posts == before + 1, "it was sent again")
        return "in doubt", said
    return "failed", "a second run did not remember the doubt"
