"""Making: behaviours that have a video made, each paid for once."""

import io
from dataclasses import replace
from typing import Final

from PIL import Image

from prefect_sora.errors import InvalidRequestError, RejectedError, SoraError, VideoNotFoundError
from prefect_sora.renders.characters import create_character
from prefect_sora.renders.contract.trial import BrokenError, Trial, Verdict, by_the_server, expect
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.profiles import Derives
from prefect_sora.servers.video_models import EXTENSION_SECONDS

NO_SUCH_MODEL: Final = "no-such-model-0"
SHORTEST_EXTENSION: Final = EXTENSION_SECONDS[0]

_CHANGES: Final[dict[Derives, str]] = {
    "remix": "The same hill at dusk.",
    "edit": "The kite is blue.",
    "extend": "The kite comes down.",
}


async def create_from_text(trial: Trial) -> Verdict:
    """A prompt is accepted as a job with an id, by one request."""
    trial.job = await trial.submit(trial.request)
    expect(trial.client.posts == 1, f"{trial.client.posts} requests were sent, and not one")
    return "held", f"accepted as {trial.job.video_id}"


async def resume(trial: Trial) -> Verdict:
    """A second run with the same scope sends nothing, and has the same job."""
    first = trial.the_job()
    async with trial.another_worker() as worker:
        again = await trial.submit(trial.request, worker)
    expect(again.video_id == first.video_id, f"the second run has {again.video_id}")
    expect(worker.posts == 0, "the second run sent another request")
    return "held", "a second run sends nothing and has the same job"


async def create_from_image(trial: Trial) -> Verdict:
    """A picture of the clip's size is taken as its first frame."""
    trial.the_job()
    file = io.BytesIO()
    Image.new("RGB", trial.request.pixels or (64, 64), "teal").save(file, "PNG")
    request = trial.clip("The wind comes up.", reference=file.getvalue())
    try:
        video = await trial.render(request)
    except SoraError as error:
        return by_the_server(error)
    return "held", f"kept as {video.folder}"


async def remix(trial: Trial) -> Verdict:
    """A remix of the clip is made, or refused with nothing sent."""
    return await _derive(trial, "remix")


async def edit(trial: Trial) -> Verdict:
    """An edit of the clip is made, or refused with nothing sent."""
    return await _derive(trial, "edit")


async def extend(trial: Trial) -> Verdict:
    """The clip is made longer, or that is refused with nothing sent."""
    return await _derive(trial, "extend")


async def _derive(trial: Trial, kind: Derives) -> Verdict:
    source = trial.the_video()
    request = VideoRequest.of(
        prompt=_CHANGES[kind],
        kind=kind,
        model=source.model,
        source_video_id=source.video_id,
        **({"seconds": SHORTEST_EXTENSION} if kind == "extend" else {}),
    )
    before = trial.client.posts
    try:
        video = await trial.render(request)
    except InvalidRequestError as error:
        expect(kind not in trial.server.profile.derives, error.message)
        return _refused_here(trial, error, kind, before)
    except SoraError as error:
        return by_the_server(error)
    expect(kind in trial.server.profile.derives, "made, though its profile says that it cannot")
    if kind == "extend":
        before_s, after_s = source.duration_seconds, video.duration_seconds
        told = f"from {_length(before_s)} to {_length(after_s)}"
        if before_s is None or after_s is None:
            return "not tried", f"whether it got longer is not known: {told}"
        expect(after_s > before_s, f"it did not get longer: {told}")
        return "held", told
    return "held", f"kept as {video.folder}"


async def character(trial: Trial) -> Verdict:
    """A character is made of the clip and found again, or refused with nothing sent."""
    source, before = trial.the_video(), trial.client.posts
    try:
        made = await create_character("Kite", source, trial.client, trial.ledger)
        found = await trial.client.character(made.id)
    except InvalidRequestError as error:
        return _refused_here(trial, error, "character", before)
    except SoraError as error:
        return by_the_server(error)
    expect(found.id == made.id, f"asked for {made.id}, it shows {found.id}")
    return "held", f"found again as {found.id}"


async def wrong_model(trial: Trial) -> Verdict:
    """A model that the server does not have is refused in words, or its name is ignored."""
    trial.the_job()
    server = trial.server
    if server.deployment is not None:
        server = replace(server, deployment=NO_SUCH_MODEL)
    # Like the names that there are: another one is refused before anything is sent.
    like = next(iter(server.profile.model_names), "*")
    request = trial.clip("A hill.", model=like.replace("*", NO_SUCH_MODEL))
    async with trial.another_worker(server) as worker:
        try:
            await trial.render(request, worker)
        except (RejectedError, VideoNotFoundError, InvalidRequestError) as error:
            expect(error.paid == "no", "refused, and yet said to be paid")
            return "held", f"refused: {error.message}"
    return "ignored", "it renders, whatever model is named"


def _refused_here(trial: Trial, error: InvalidRequestError, what: str, before: int) -> Verdict:
    expect(trial.client.posts == before, "refused, and yet something was sent")
    profile = trial.server.profile.name
    if what not in error.message or profile not in error.message:
        raise BrokenError(f"the refusal names not both {profile} and {what}: {error.message}")
    return "refused", f"before anything is sent: {error.message}"


def _length(seconds: float | None) -> str:
    return "an unknown length" if seconds is None else f"{seconds:.1f} s"
