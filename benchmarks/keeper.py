"""The process whose memory is measured: it keeps a small video, rests, and keeps a large one.

It reads what to do from standard input and writes what it took to standard output, as JSON.
"""

import asyncio
import gc
import json
import resource
import sys
from threading import Event, Thread
from time import time
from typing import Any

import psutil

from prefect_sora.handles import RenderedVideo, StoredVideo
from prefect_sora.renders.finish.keep import keep
from prefect_sora.servers.profiles import GENERIC
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import Server
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger

_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024
_SAMPLE_SECONDS = 0.005


class Peak:
    """The highest memory of this process from now on.

    The system's own mark misses nothing, but counts from the process's start: where it does
    not move, what the samples saw is right.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self.idle_bytes = self.sampled_bytes = self._process.memory_info().rss
        self._mark_bytes = _high_water_mark()
        self._end = Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """Stop watching and say the peak in bytes."""
        self._end.set()
        self._thread.join()
        mark = _high_water_mark()
        return mark if mark > self._mark_bytes else self.sampled_bytes

    def _watch(self) -> None:
        while not self._end.wait(_SAMPLE_SECONDS):
            self.sampled_bytes = max(self.sampled_bytes, self._process.memory_info().rss)


def _high_water_mark() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT


async def _keep(client: VideoClient, video_id: str, ledger: Ledger) -> StoredVideo:
    video = RenderedVideo(
        key=video_id,
        folder=video_id,
        video_id=video_id,
        provider="bench",
        title=video_id,
        submitted_at=time(),
    )
    stored = await keep(video, client, ledger)
    if not stored.preview_url:
        raise RuntimeError(f"No pictures could be drawn of the {video_id} video.")
    return stored


async def measure(base_url: str, root: str, options: dict[str, Any]) -> dict[str, int]:
    """Keep both videos and say what the large one took, in bytes."""
    client = VideoClient(Server(base_url, identity="bench", label="bench", profile=GENERIC))
    ledger = Ledger(VideoFolder(root, options))
    await _keep(client, "small", ledger)
    gc.collect()
    peak = Peak()
    stored = await _keep(client, "large", ledger)
    await client.close()
    return {
        "size": stored.size_bytes,
        "idle": peak.idle_bytes,
        "peak": peak.stop(),
        "sampled": peak.sampled_bytes,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(measure(**json.load(sys.stdin)))))
