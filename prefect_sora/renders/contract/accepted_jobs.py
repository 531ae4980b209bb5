"""Asking: behaviours on a job that was accepted, and on one that never was."""

import asyncio
import base64
import binascii
import hashlib
import re
import tempfile
from pathlib import Path
from typing import Final

from prefect_sora.errors import InvalidRequestError, SoraError, VideoNotFoundError
from prefect_sora.renders.contract.trial import Trial, Verdict, by_the_server, expect
from prefect_sora.renders.finish.downloads import download_still
from prefect_sora.renders.finish.keep import keep
from prefect_sora.renders.finish.stills import fetch_still
from prefect_sora.renders.finish.wait import wait
from prefect_sora.servers.protocol.listing import every_video
from prefect_sora.servers.protocol.video_object import Video
from prefect_sora.store.ledger import Ledger

_NEVER_MADE: Final = "video_0123456789abcdef0123456789abcdef"
_A_RANDOM_PART: Final = re.compile(r"(?=[A-Za-z]*\d)[0-9A-Za-z]{12,}")
_OTHER_DIGITS: Final = str.maketrans("0123456789", "1234567890")


async def wait_with_progress(trial: Trial) -> Verdict:
    """The job is waited for, with what the server tells of its progress."""
    told: list[Video] = []
    trial.rendered = await wait(
        trial.the_job(), trial.client, trial.ledger, trial.waiting, on_progress=told.append
    )
    # Progress that is estimated here says nothing about the server.
    own = [video.progress for video in told if not video.is_estimate]
    seen = [f"{progress:g}" for progress in own if progress is not None]
    if not seen:
        return "held", "completed; the server tells no progress"
    return "held", f"completed; progress told: {', '.join(dict.fromkeys(seen))} %"


async def retrieve(trial: Trial) -> Verdict:
    """The finished job is shown as completed."""
    video = await trial.client.retrieve(trial.the_job().video_id)
    expect(trial.rendered is None or video.status == "completed", f"it is {video.raw_status!r}")
    return "held", f"status {video.raw_status!r}"


async def list_jobs(trial: Trial) -> Verdict:
    """The server's list has the job, or there is none, which is said with nothing asked."""
    wanted = trial.the_job().video_id
    try:
        async for video in every_video(trial.client):
            if video.id == wanted:
                return "held", "the job is in it"
    except InvalidRequestError as error:
        expect(not trial.server.profile.can_list, error.message)
        return "refused", f"before anything is sent: {error.message}"
    except SoraError as error:
        return by_the_server(error)
    return "failed", f"{wanted} is not in it"


async def download_whole(trial: Trial) -> Verdict:
    """The video is kept whole: an MP4 file with the recorded length and hash."""
    stored = await keep(trial.rendered or trial.the_job(), trial.client, trial.ledger)
    size_bytes, sha256 = await asyncio.to_thread(_measured, trial.ledger, stored.folder)
    expect((size_bytes, sha256) == (stored.size_bytes, stored.sha256), "the file is another one")
    trial.stored = stored
    trial.kept.append(stored.video_id)
    length = f"{stored.duration_seconds:.2f} s" if stored.duration_seconds else "length unknown"
    return "held", f"{stored.width}x{stored.height}, {length}, {size_bytes} bytes"


async def still(trial: Trial) -> Verdict:
    """A thumbnail comes from the server, or is drawn from the video."""
    video = trial.rendered or trial.the_job()
    trial.the_video()
    if "thumbnail" in trial.server.profile.variants:
        _, suffix = await fetch_still(trial.client, video.video_id, "thumbnail")
        if suffix:
            return "held", f"the server serves a {suffix[1:]}"
    with tempfile.TemporaryDirectory(prefix="prefect-sora-") as folder:
        drawn = Path(folder) / "thumbnail"
        path = await download_still(video, trial.client, drawn, "thumbnail")
    return "drawn", f"the server has none: a {path.suffix[1:]} is drawn from the video"


async def unknown_id(trial: Trial) -> Verdict:
    """A video that was never made is told as such."""
    known = trial.job.video_id if trial.job else None
    try:
        video = await trial.client.retrieve(never_made(known))
    except VideoNotFoundError as error:
        return "held", f"status {error.status}"
    return "failed", f"it shows a job of status {video.raw_status!r}"


async def delete(trial: Trial) -> Verdict:
    """What was made is deleted at the server, or that is refused; the store keeps it."""
    job = trial.the_job()
    trial.the_video()  # what is not kept is not deleted
    try:
        for video_id in trial.kept:
            await trial.client.delete(video_id)
    except InvalidRequestError as error:
        expect(not trial.server.profile.can_delete, error.message)
        return "refused", f"before anything is sent: {error.message}"
    except SoraError as error:
        return by_the_server(error)
    try:
        left = await trial.client.retrieve(job.video_id)
    except VideoNotFoundError:
        return "held", f"{len(trial.kept)} deleted, and gone"
    expect(left.status == "deleted", f"deleted, and still there as {left.raw_status!r}")
    return "held", f"{len(trial.kept)} deleted, and shown as such"


def never_made(known: str | None) -> str:
    """An id that the server could have made and has not.

    Gateways wrap other servers' ids in base64, and pass an id that they cannot unwrap on to the
    next server. So only the digits of the innermost id are changed.
    """
    if known is None:
        return _NEVER_MADE
    head, underscore, tail = known.rpartition("_")
    try:
        inner = base64.b64decode(tail + "=" * (-len(tail) % 4), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        inner = ""
    if inner.isprintable() and ":" in inner:
        changed = _A_RANDOM_PART.sub(_other, inner, count=1)
        return head + underscore + base64.b64encode(changed.encode()).decode()
    changed = _A_RANDOM_PART.sub(_other, known, count=1)
    return changed if changed != known else _NEVER_MADE


def _other(found: re.Match[str]) -> str:
    return found[0].translate(_OTHER_DIGITS)


def _measured(ledger: Ledger, folder: str) -> tuple[int, str]:
    digest, size_bytes = hashlib.sha256(), 0
    with ledger.store.open(f"{folder}/video.mp4") as file:
        while chunk := file.read(256 * 1024):
            digest.update(chunk)
            size_bytes += len(chunk)
    return size_bytes, digest.hexdigest()
