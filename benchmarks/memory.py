"""Memory: what keeping a large video adds to an idle process, against what we allow it.

The idle process has kept a small video already, of 64x64, so that everything is loaded and
connected; the large one is of 1280x720 and its pictures are decoded, shrunk and kept too.
"""

from collections.abc import Iterable
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.processes import FailedError, answers, free_port, s3_server, serving, told_by
from benchmarks.table import Pairs, Row

ALLOWED_BYTES = 32 * 2**20

_MIB = 2**20
_BUCKET = "benchmark"


def measure(rounds: int, megabytes: int) -> Iterable[Row]:
    """Keep a video of so many MiB in a folder and in S3."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    words = (str(port), str(megabytes))
    with serving("benchmarks.large_video", *words, ready=lambda: answers(url)):
        grown = []
        for _ in range(rounds):
            with TemporaryDirectory() as folder:
                grown.append(_grown_by(f"{url}/v1", folder, {}, megabytes))
        yield _row("a folder", megabytes, grown)
        grown = []
        for _ in range(rounds):
            # A server of its own for each: it holds in memory what it is given.
            with s3_server(_BUCKET) as options:
                grown.append(_grown_by(f"{url}/v1", f"s3://{_BUCKET}", options, megabytes))
        yield _row("S3", megabytes, grown)


def _grown_by(base_url: str, root: str, options: dict[str, Any], megabytes: int) -> int:
    """Keep the video in a process of its own, and say by how much that grew."""
    task = {"base_url": base_url, "root": root, "options": options}
    took: dict[str, int] = told_by("benchmarks.keeper", task)
    if abs(took["size"] / _MIB - megabytes) > 1:
        raise FailedError(f"A video of {took['size']} bytes was kept, not of {megabytes} MiB.")
    return took["peak"] - took["idle"]


def _row(store: str, megabytes: int, grown: list[int]) -> Row:
    return Row(
        "memory",
        f"a process that keeps a video of {megabytes} MiB in {store}, over itself when idle",
        "what it may take",
        "MiB",
        Pairs(
            tuple(size / _MIB for size in grown),
            tuple(ALLOWED_BYTES / _MIB for _ in grown),
        ),
        1.0,
    )
