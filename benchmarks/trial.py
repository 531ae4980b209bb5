"""What the trial of a store costs a process before its first reservation.

`python -m benchmarks.trial [URL]` measures a folder, by default a temporary one; an S3 URL is
opened with the environment's credentials, and AWS_ENDPOINT_URL where that is set.
"""

import asyncio
import sys
import tempfile
from statistics import median
from time import perf_counter

from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.backends.probe import two_writers

ROUNDS = 50


async def measured(url: str) -> float:
    """Median milliseconds of one trial, once the connection stands."""
    folder = VideoFolder(url)
    await folder.names()
    taken = []
    for _ in range(ROUNDS):
        began = perf_counter()
        await two_writers(folder, url)
        taken.append(1000 * (perf_counter() - began))
    return median(taken)


def main() -> None:
    """Measure, and print one line."""
    with tempfile.TemporaryDirectory() as folder:
        url = sys.argv[1] if len(sys.argv) > 1 else folder
        print(f"{url}: {asyncio.run(measured(url)):.1f} ms")


if __name__ == "__main__":
    main()
