"""Records: what an earlier version wrote is read for ever; what a later one wrote stops us.

`data/records-v1` is a store as version 0.1.0 left it. It is never changed: a later form of
the records gets a folder of its own beside it.
"""

import json
import shutil
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest

from prefect_sora.errors import NewerStoreError
from prefect_sora.renders.recovery.resume import resume
from prefect_sora.renders.submit.options import RenderOptions
from prefect_sora.renders.submit.prepare import identify
from prefect_sora.renders.submit.submit import submit
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.profiles import LOCAL
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import Server
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import SCHEMA, Reserved, read_record
from tests.support.renders import render
from tests.support.scripted import Jobs, Script, Scripted

V1 = Path(__file__).parents[1] / "data" / "records-v1"
KITE, BOAT = "a-red-kite-c1c7fd06faa0", "a-boat-that-fails-fec1b07fab70"
FOX, LIGHTHOUSE = "a-fox-on-its-way-b0c52f807e93", "a-lighthouse-in-doubt-deb7365544ae"
SCOPE = "campaign-1"


def asked(prompt: str) -> VideoRequest:
    """What those renders asked for."""
    return VideoRequest(prompt=prompt, model=None, size="64x64", seconds=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A copy of the store that version 0.1.0 left."""
    shutil.copytree(V1, tmp_path / "renders")
    return Ledger(VideoFolder(str(tmp_path / "renders")))


@pytest.fixture
async def nobody() -> AsyncIterator[VideoClient]:
    """The server of that store, which no request reaches any more."""
    client = VideoClient(
        Server("http://127.0.0.1:9/v1", "https://video.example/v1", "video.example/v1", None)
    )
    yield client
    await client.close()


@pytest.fixture
def server(scripted: Script) -> tuple[Scripted, VideoClient]:
    """The server of that store, which counts what it is asked."""
    made, _ = scripted(Jobs(lose=0))
    return made, VideoClient(
        Server(made.base_url, "https://video.example/v1", "video.example/v1", profile=LOCAL)
    )


async def test_every_state_of_version_1_is_read(ledger: Ledger) -> None:
    states = {folder: await ledger.state(folder) for folder in await ledger.folders()}
    assert {folder: state.name for folder, state in states.items()} == {
        KITE: "stored",
        BOAT: "failed",
        FOX: "accepted",
        LIGHTHOUSE: "reserved",
    }
    kite, boat, fox = states[KITE], states[BOAT], states[FOX]
    assert kite.stored
    assert (kite.stored.video.key, kite.stored.video.width) == ("c1c7fd06faa0", 64)
    data = (V1 / KITE / "video.mp4").read_bytes()
    assert kite.stored.video.sha256 == sha256(data).hexdigest()
    assert str(kite.stored.video.thumbnail_url).endswith(f"{KITE}/thumbnail.webp")
    assert boat.failed
    assert (boat.failed.kind, boat.failed.code, boat.failed.paid) == (
        "failed",
        "render_failed",
        "unknown",
    )
    assert fox.accepted
    assert fox.accepted.job.video_id == "video_854827fd0e82442ca5d486cb72d7e662"
    for state in states.values():
        assert state.reserved
        assert state.reserved.scope == SCOPE
        assert VideoRequest.model_validate(state.reserved.request).seconds == 1
    assert {state.folder for state in await ledger.unfinished()} == {FOX, LIGHTHOUSE}
    claims = await ledger.claims_of("https://video.example/v1", "b0c52f807e93")
    assert claims == [fox.accepted.job.video_id]


async def test_what_version_1_kept_is_returned_and_what_it_had_accepted_is_waited_for_for_nothing(
    ledger: Ledger, nobody: VideoClient
) -> None:
    kept = await render(asked("a red kite"), nobody, ledger, SCOPE)
    assert (kept.folder, kept.size_bytes) == (KITE, (V1 / KITE / "video.mp4").stat().st_size)

    prepared = await identify(asked("a fox on its way"), nobody, SCOPE)
    job = await submit(prepared, nobody, ledger, RenderOptions(SCOPE))
    assert (job.folder, job.video_id) == (FOX, "video_854827fd0e82442ca5d486cb72d7e662")


def make_newer(ledger: Ledger, name: str) -> None:
    """Let a later version have written a record, in a form that we cannot know."""
    path = Path(ledger.store.root) / name
    record = json.loads(path.read_text()) | {"schema_version": SCHEMA + 1}
    path.write_text(json.dumps({k: v for k, v in record.items() if k not in ("job", "video")}))


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("a red kite", f"{KITE}/stored.json"),
        ("a boat that fails", f"{BOAT}/failed.json"),
        ("a fox on its way", f"{FOX}/accepted.json"),
        ("a lighthouse in doubt", f"{LIGHTHOUSE}/reserved.json"),
    ],
)
async def test_a_record_of_a_later_version_stops_the_render_and_nothing_is_sent(
    ledger: Ledger, server: tuple[Scripted, VideoClient], prompt: str, name: str
) -> None:
    make_newer(ledger, name)
    counting, client = server
    with pytest.raises(NewerStoreError, match=r"newer version .* Upgrade") as caught:
        await render(asked(prompt), client, ledger, SCOPE)
    error = caught.value
    assert (error.key, error.paid, error.retryable) == (
        name.partition("/")[0][-12:],
        "unknown",
        False,
    )
    assert name in str(error)
    assert counting.seen == []
    await client.close()


async def test_a_claim_of_a_later_version_is_nobodys_to_take(
    ledger: Ledger, server: tuple[Scripted, VideoClient]
) -> None:
    counting, client = server
    state = await ledger.state(LIGHTHOUSE)
    assert state.reserved
    for path in (Path(ledger.store.root) / ".claims").iterdir():
        make_newer(ledger, f".claims/{path.name}")
    with pytest.raises(NewerStoreError):
        await ledger.claim(
            state.reserved.server, "video_854827fd0e82442ca5d486cb72d7e662", state.key
        )
    (Path(ledger.store.root) / LIGHTHOUSE / "reserved.json").unlink()
    with pytest.raises(NewerStoreError):
        await ledger.claims_of(state.reserved.server, state.key)
    assert counting.posts() == 0
    await client.close()


async def test_resuming_a_render_of_a_later_version_says_so(
    ledger: Ledger, nobody: VideoClient
) -> None:
    state = await ledger.state(FOX)
    make_newer(ledger, f"{FOX}/accepted.json")
    with pytest.raises(NewerStoreError):
        await ledger.unfinished()
    with pytest.raises(NewerStoreError):
        await resume(await ledger.state(state.folder), nobody, ledger)


@pytest.mark.parametrize(
    "data", [None, b"", b"{", b"[1]", b'"x"', b"\xff", b'{"schema_version": "9"}', b"[" * 100_000]
)
def test_what_is_torn_is_absent_and_no_later_version(data: bytes | None) -> None:
    assert read_record(Reserved, data, "reserved.json") is None
