"""The flow `clean_up`: deletes at the server what the store has kept; a dry run unless told."""

from typing import Annotated

from prefect import flow
from prefect.artifacts import acreate_table_artifact
from pydantic import BaseModel, ConfigDict, Field

from prefect_sora.blocks import ProviderOrName, Store, store_of
from prefect_sora.cleaning import Found, clean, look
from prefect_sora.providers import provider_of
from prefect_sora.reports import logger


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
    await _show(found, summary)
    return summary


async def _show(found: list[Found], summary: CleanUp) -> None:
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
    try:
        await acreate_table_artifact(
            rows or [{"Video": "none"}], key="clean-up", description=f"Clean-up: {summary}"
        )
    except Exception as error:
        logger().warning("What came of the clean-up cannot be shown in the UI: %s", error)
