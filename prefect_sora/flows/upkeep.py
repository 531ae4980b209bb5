"""Upkeep: the flows `sweep`, which brings home what was left, and `clean_up`, which deletes.

`sweep` finishes what dead runs left in a store; `clean_up` deletes at the server what the store
has kept. Neither flow pays for anything. Both may run beside anything else, as often as one likes.
"""

import hashlib
from typing import Annotated, Any, Final, Literal, cast

from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import BaseModel, ConfigDict, Field

from prefect_sora.blocks import OneOrMore, ProviderOrName, Store, VideoStore, store_of
from prefect_sora.errors import ModerationError, SoraError, StorageError
from prefect_sora.errors.next_steps import in_words
from prefect_sora.limits import limits
from prefect_sora.renders.finish.options import WaitOptions
from prefect_sora.renders.recovery import sweep as sweeping
from prefect_sora.renders.recovery.clean_up import Found, clean, look
from prefect_sora.renders.recovery.sweep import Outcome, Swept
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.backends.refusals import plain_url
from prefect_sora.store.records import RenderState
from prefect_sora.tasks.artifacts import logger
from prefect_sora.tasks.calling import flow
from prefect_sora.tasks.markdown import cells, plain
from prefect_sora.tasks.providers import listed, provider_of

OUTCOMES: Final[tuple[Outcome, ...]] = ("in_doubt", "failed", "waiting", "skipped", "kept")
"""What a person has to look at stands first."""


class Sweep(BaseModel):
    """What a sweep did: the key of each unfinished render, and where it is or why not."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    store: str = Field(description="The store's URL.")
    kept: dict[str, str] = Field(default={}, description="Brought home, and where each is.")
    waiting: dict[str, str] = Field(default={}, description="Still being rendered.")
    in_doubt: dict[str, str] = Field(default={}, description="A person decides.")
    failed: dict[str, str] = Field(default={}, description="Not brought home, and why.")
    skipped: dict[str, str] = Field(default={}, description="Not touched, and why.")
    parts_removed: int = Field(default=0, description="Files that dead writers left half written.")

    def __str__(self) -> str:
        """Say it in one line."""
        counts = [f"{len(getattr(self, o))} {o.replace('_', ' ')}" for o in OUTCOMES]
        told = ", ".join(count for count in reversed(counts) if not count.startswith("0 "))
        return f"{told or 'nothing was left behind'} in {self.store}"


@flow(name="sweep")
async def sweep(
    provider: Annotated[
        OneOrMore,
        Field(description="Whose renders are brought home; those of other servers are skipped."),
    ],
    store: Store,
    timeout_seconds: Annotated[
        float, Field(description="How long to wait for what is still being rendered.")
    ] = 600,
    poll_interval_seconds: Annotated[
        float, Field(description="Shortest pause between two polls.")
    ] = 5,
    older_than_seconds: Annotated[
        float,
        Field(
            description="What was begun later is left to its own run, unless that one's process "
            "is known to be dead."
        ),
    ] = 600,
    raise_on: Annotated[
        list[Literal["in_doubt", "failed", "waiting", "skipped"]] | None,
        Field(description="What makes this run fail; None: nothing that happens to a render."),
    ] = None,
) -> Sweep:
    """Find the renders of a store that were begun and not kept, and bring them home.

    Nothing is paid for. Each render's outcome stands in the run's artifact, with the
    commands to run where a person has to decide.

    Raises:
        StorageError: The store cannot be read.
        SoraError: A render has an outcome that `raise_on` names.
    """
    block = store_of(store)
    clients = [await one.get_client() for one in await listed(provider)]

    async def client_of(state: RenderState) -> VideoClient:
        return await sweeping.client_among(clients, state)

    swept = await sweeping.sweep(
        block.ledger,
        client_of,
        WaitOptions(timeout_seconds=timeout_seconds, poll_interval_seconds=poll_interval_seconds),
        older_than_seconds=older_than_seconds,
    )
    for render in swept:
        if isinstance(render.error, SoraError):
            render.error.known(store=plain_url(block.url))
    summary = _summary(swept, block, await _parts_removed(block))
    await _show_swept(swept, summary)
    bad = [render for render in swept if render.outcome in (raise_on or [])]
    if bad:
        raise SoraError(
            f"The sweep ended with {summary}.",
            paid="unknown",
            next_step="The run's artifact says what to do for each.",
        )
    # A state is returned for its message: the run's page then says what was done.
    state: State[Sweep] = Completed(message=f"{summary}", data=summary)
    return cast(Sweep, state)  # what the caller gets is the state's data


async def _parts_removed(store: VideoStore) -> int:
    """Remove half-written files; a failure here is only logged: the videos are kept already."""
    try:
        return len(await store.folder.sweep_parts())
    except StorageError as error:
        logger().warning("What was left half written stays for now: %s", error)
        return 0


def _summary(swept: list[Swept], store: VideoStore, parts_removed: int) -> Sweep:
    told: dict[str, dict[str, str]] = {outcome: {} for outcome in OUTCOMES}
    for render in swept:
        told[render.outcome][render.key] = render.url or _why(render)
    return Sweep(store=plain_url(store.url), parts_removed=parts_removed, **cast(Any, told))


def _why(render: Swept) -> str:
    error = render.error
    said = error.message if isinstance(error, SoraError) else f"{type(error).__name__}: {error}"
    most = limits().said_characters
    return said if len(said) <= most else f"{said[: most - 1]}…"


def _what_to_do(render: Swept) -> str:
    return (isinstance(render.error, SoraError) and in_words(render.error.steps, "page")) or ""


async def _show_swept(swept: list[Swept], summary: Sweep) -> None:
    """Put the outcomes into the UI, those that need a person first."""
    rows = [
        {
            "Outcome": render.outcome.replace("_", " ")
            + (": moderation" if isinstance(render.error, ModerationError) else ""),
            "Render": render.key,
            "Prompt": render.title,
            "Where or why": render.url or _why(render),
            "What to do": _what_to_do(render),
        }
        for outcome in OUTCOMES
        for render in swept
        if render.outcome == outcome
    ]
    name = hashlib.sha256(summary.store.encode()).hexdigest()[:8]
    logger().info("Swept: %s", summary)
    rows = rows or [{"Outcome": "nothing was left behind"}]
    await _table(rows, f"sweep-{name}", f"Sweep: {summary}")


class CleanUp(BaseModel):
    """What a clean-up found and did: ids of the server's videos."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    provider: str
    dry_run: bool
    deleted: list[str] = Field(default=[], description="Or, in a dry run, what would be.")
    failed: dict[str, str] = Field(default={}, description="Not deleted, and why.")
    left: int = Field(default=0, description="Young, unfinished, or nowhere but at the server.")

    def __str__(self) -> str:
        """Say it in one line."""
        did = "would be deleted" if self.dry_run else "deleted"
        failed = f", {len(self.failed)} failed" if self.failed else ""
        return f"{len(self.deleted)} {did}{failed}, {self.left} left at {self.provider}"


@flow(name="clean-up")
async def clean_up(
    provider: ProviderOrName,
    store: Store,
    older_than_hours: Annotated[
        float, Field(ge=0, description="What was made later is left alone.")
    ] = 24,
    dry_run: Annotated[
        bool, Field(description="Show what would be deleted; only False deletes.")
    ] = True,
) -> CleanUp:
    """Delete videos at the server that this store has kept, whole, and that are old enough.

    What is nowhere but at the server, or kept by another store, is never touched.

    Raises:
        InvalidRequestError: The server has no list.
        ApiError: Its list cannot be read.
        StorageError: The store cannot be read.
    """
    client = await (await provider_of(provider)).get_client()
    found = await look(client, store_of(store).ledger, older_than_hours * 3600)
    if not dry_run:
        found = await clean(found, client)
    done = "kept" if dry_run else "deleted"
    summary = CleanUp(
        provider=client.server.label,
        dry_run=dry_run,
        deleted=[one.video.video_id for one in found if one.verdict == done],
        failed={one.video.video_id: one.why or "" for one in found if one.verdict == "failed"},
        left=sum(one.verdict not in (done, "failed") for one in found),
    )
    logger().info("Clean-up: %s", summary)
    await _show_found(found, summary)
    return summary


async def _show_found(found: list[Found], summary: CleanUp) -> None:
    rows = [
        {
            "Video": one.video.video_id,
            "Prompt": one.video.title or "",
            "Status": one.video.status,
            "Verdict": "would be deleted"
            if summary.dry_run and one.verdict == "kept"
            else one.verdict,
            "In the store": one.url or "",
            "Why": one.why or "",
        }
        for one in found
    ]
    await _table(rows or [{"Video": "none"}], "clean-up", f"Clean-up: {summary}")


async def _table(rows: list[dict[str, Any]], key: str, description: str) -> None:
    """Show a table in the UI; a failure to show it ends no run."""
    try:
        await acreate_table_artifact(cells(rows), key=key, description=plain(description))
    except Exception as error:
        logger().warning("What came of it cannot be shown in the UI: %s", error)
