"""`python -m benchmarks.chaos`: render while workers and the renderer are killed and hindered.

Then faults and kills stop, each render that was asked for is run again to its end, and the
store is held against the server: exit code 1 unless nothing was lost, paid twice or orphaned.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from benchmarks.chaos.orders import STRANGER, Place
from benchmarks.chaos.report import Report
from benchmarks.chaos.storm import Storm, Tally
from benchmarks.chaos.strangers import Stranger, stranger_at
from benchmarks.chaos.verdict import judge
from benchmarks.chaos.victims import VideoServer, prepare, renderer_at
from benchmarks.processes import answers, free_port, s3_server, serving

_LEFT = "chaos.json"


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser("python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long it storms")
    parser.add_argument("--renders", type=int, help="just so many; else what time allows")
    parser.add_argument("--workers", type=int, default=3, help="processes that render")
    parser.add_argument("--at-once", type=int, default=8, help="renders that each is handed")
    parser.add_argument("--worker-lives", type=float, default=4.0, help="mean s between two kills")
    parser.add_argument("--renderer-lives", type=float, default=12.0, help="the same, of it")
    parser.add_argument("--calm", type=float, default=300.0, help="s that the rest may take")
    parser.add_argument("--seed", type=int, default=1, help="of kills, races and faults")
    parser.add_argument("--store", choices=("disk", "s3"), default="disk", help="s3 is moto's")
    parser.add_argument("--profile", choices=("local", "openai"), help="local; openai with --flows")
    parser.add_argument(
        "--stranger",
        nargs="?",
        const="{}",
        metavar="CHARACTER",
        help="a server of nobody's behind a gateway; what it is like, as JSON",
    )
    parser.add_argument("--flows", action="store_true", help="text_to_video on a Prefect server")
    parser.add_argument("--folder", type=Path, help="work there, and leave it all there")
    parser.add_argument("--judge", type=Path, metavar="FOLDER", help="only judge what was left")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there")
    given = parser.parse_args(words)
    if given.flows and given.profile == "local":
        parser.error("--flows knows its server by address, as one of OpenAI's kind")
    if given.stranger is not None and given.profile:
        parser.error("nothing is known of a stranger")
    if given.stranger is not None:
        given.profile = STRANGER.name
    given.profile = given.profile or ("openai" if given.flows else "local")
    if given.judge and not (given.judge / _LEFT).is_file():
        parser.error(f"{given.judge} holds no {_LEFT} of a run on disk")
    return given


def storm(given: argparse.Namespace, folder: Path) -> Report:
    """Storm, calm down, and judge."""
    chance = Random(given.seed)  # noqa: S311 - no secret
    renderer = _server_at(folder / "renderer", given.profile, given.stranger)
    with _store(given, folder) as (url, options), _prefect(given, folder):
        place = Place(
            base_url=f"{renderer.root}/v1",
            profile=given.profile,
            store=url,
            options=options,
            way="flow" if given.flows else "render",
            log=str(folder / "workers.log"),
            truth=renderer.truth if isinstance(renderer, Stranger) else "",
        )
        prepare(flows=given.flows)
        one = Storm(
            place=place,
            renderer=renderer,
            chance=chance,
            renders=given.renders,
            workers=given.workers,
            at_once=given.at_once,
            worker_lives_s=given.worker_lives,
            renderer_lives_s=given.renderer_lives,
        )
        try:
            one.rage(given.minutes * 60)
            one.calm(given.calm)
            one.end()
            if given.store == "disk":
                _leave(folder, place, one.tally)
            verdict = asyncio.run(judge(one.tally.told, place, renderer.jobs()))
        finally:
            one.end()
            renderer.end()
    return Report(verdict, one.tally, renderer.met)


def judge_again(folder: Path) -> Report:
    """Judge what an earlier run has left on disk, as it stands there now."""
    left = json.loads((folder / _LEFT).read_text("utf-8"))
    place = Place(**{**left["place"], "store": str(folder / "store")})
    tally = Tally(told={int(n): {(i, sha) for i, sha in pairs} for n, pairs in left["told"]})
    renderer = _server_at(folder / "renderer", place.profile)
    renderer.start()
    try:
        renderer.is_up()
        verdict = asyncio.run(judge(tally.told, place, renderer.jobs()))
    finally:
        renderer.end()
    return Report(verdict, tally, renderer.met)


def _server_at(folder: Path, profile: str, character: str | None = None) -> VideoServer:
    if profile == STRANGER.name:
        return stranger_at(folder, character or "{}")
    return renderer_at(folder)


def _leave(folder: Path, place: Place, tally: Tally) -> None:
    told = [(number, sorted(pairs)) for number, pairs in tally.told.items()]
    (folder / _LEFT).write_text(json.dumps({"place": asdict(place), "told": told}), "utf-8")


@contextmanager
def _store(given: argparse.Namespace, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    if given.store == "disk":
        yield str(folder / "store"), {}
        return
    with s3_server("chaos") as options:
        yield "s3://chaos/store", options


@contextmanager
def _prefect(given: argparse.Namespace, folder: Path) -> Iterator[None]:
    """Serve Prefect, and tell it to the workers by the environment that they inherit."""
    if not given.flows:
        yield
        return
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    os.environ |= {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    words = ("server", "start", "--host", "127.0.0.1", "--port", str(port))
    with serving("prefect", *words, ready=lambda: answers(f"{url}/health")):
        os.environ["PREFECT_API_URL"] = url
        yield


def main(words: Sequence[str] | None = None) -> int:
    """Do what the command line says."""
    given = parse(words)
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    with ExitStack() as stack:
        if given.judge:
            report = judge_again(given.judge)
        else:
            folder = given.folder or Path(stack.enter_context(TemporaryDirectory()))
            folder.mkdir(parents=True, exist_ok=True)
            report = storm(given, folder.absolute())
    report.show(console)
    if given.json:
        report.save(given.json)
    return 0 if report.verdict.held else 1


if __name__ == "__main__":
    sys.exit(main())
