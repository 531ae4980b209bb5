"""Verdict: what was asked for, paid for and kept, read from the store and the server alone."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.chaos.orders import SCOPE, Place, request_of
from prefect_sora.errors import SoraError
from prefect_sora.media.mp4 import Mp4Scanner
from prefect_sora.renders.submit.prepare import identify
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger

Told = Mapping[int, Collection[tuple[str, str]]]
"""Of each render that was asked for: the video ids and hashes that its runs have returned."""


@dataclass
class Verdict:
    """What became of the promise.

    Attributes:
        asked: Renders that were asked for.
        kept: Those whose record, file and returned values agree.
        lost: The rest, each with its reason.
        double_paid: Accepted jobs beyond one for each render, by prompt.
        orphaned: Accepted jobs that no record names.
    """

    asked: int = 0
    kept: int = 0
    lost: list[str] = field(default_factory=list)
    double_paid: list[str] = field(default_factory=list)
    orphaned: list[str] = field(default_factory=list)

    @property
    def held(self) -> bool:
        """Whether each render was paid for once and kept."""
        return not (self.lost or self.double_paid or self.orphaned)


async def judge(told: Told, place: Place, jobs: Iterable[Mapping[str, Any]]) -> Verdict:
    """Hold the store against what was asked for and what was paid.

    Args:
        told: What was asked for, and what was returned for it.
        place: The server and the store.
        jobs: All jobs that the server has accepted.
    """
    jobs = [*jobs]
    ledger = Ledger(VideoFolder(place.store, place.options))
    verdict = Verdict(asked=len(told))
    asked = Counter(request_of(number).prompt for number in told)
    for prompt, paid in sorted(Counter(job["prompt"] for job in jobs).items()):
        ids = [job["id"] for job in jobs if job["prompt"] == prompt]
        verdict.double_paid += [
            f"{prompt!r}: {paid} jobs for {asked[prompt]} renders: {', '.join(ids)}"
        ] * max(0, paid - asked[prompt])
    recorded: set[str] = set()
    for folder in await ledger.folders():
        recorded |= await ledger.accepted_ids(folder)
    verdict.orphaned = [
        f"{job['id']}: {job['prompt']!r}, {job['status']}"
        for job in jobs
        if job["id"] not in recorded
    ]
    client = VideoClient(place.server)
    whose: dict[str, int] = {}
    for number, returned in sorted(told.items()):
        prepared = await identify(request_of(number), client, SCOPE)
        try:
            await _is_kept(prepared.folder, number, returned, ledger, whose)
        except (_LostError, SoraError) as error:
            verdict.lost.append(f"render {number}, {prepared.folder}: {error}")
        else:
            verdict.kept += 1
    await client.close()
    return verdict


class _LostError(Exception):
    """A render that was asked for is not there as it was promised."""


async def _is_kept(
    folder: str,
    number: int,
    returned: Collection[tuple[str, str]],
    ledger: Ledger,
    whose: dict[str, int],
) -> None:
    record = await ledger.stored(folder)
    if record is None:
        raise _LostError(f"not kept: its records say {(await ledger.state(folder)).name}")
    video = record.video
    data = await ledger.store.read(f"{folder}/video.mp4")
    if data is None:
        raise _LostError("it has a record, and no file")
    if hashlib.sha256(data).hexdigest() != video.sha256:
        raise _LostError("its file is not the one that its record tells of")
    scanner = Mp4Scanner()
    scanner.feed(data)
    scanner.finish()
    if other := set(returned) - {(video.video_id, video.sha256)}:
        raise _LostError(f"a run has returned another video than the kept one: {other}")
    first = whose.setdefault(video.video_id, number)
    if first != number:
        raise _LostError(f"its video is that of render {first}")
