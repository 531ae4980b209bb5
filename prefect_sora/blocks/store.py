"""Store: where videos are kept, as a block."""

from pathlib import Path
from typing import Any, Self

from prefect.blocks.core import Block
from prefect.types import SecretDict
from pydantic import Field

from prefect_sora.blocks.providers import DOCS, FOLDER_LOGO
from prefect_sora.errors.redaction import is_mask, masked
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.backends.refusals import without_password
from prefect_sora.store.ledger import Ledger


class VideoStore(Block):
    """Where videos and the records of their renders are kept: any URL that fsspec opens.

    Example:
        Load the saved store and keep a render in it:
        ```python
        import asyncio

        from prefect_sora import VideoStore, LocalRenderer, text_to_video

        # In a script:
        store = VideoStore.load("BLOCK_NAME")
        asyncio.run(text_to_video("a red kite", provider=LocalRenderer(folder="./r"), store=store))

        # In async code:
        store = await VideoStore.aload("BLOCK_NAME")
        await text_to_video("a red kite", provider=LocalRenderer(folder="./r"), store=store)
        ```
    """

    _block_type_name = "Sora Video Store"
    _block_type_slug = "sora-video-store"
    _logo_url = FOLDER_LOGO  # type: ignore[assignment]  # Prefect's own blocks give a str, too
    _documentation_url = DOCS  # type: ignore[assignment]  # the same

    url: str = Field(
        title="URL",
        description="A folder: a path, file://, s3://bucket/prefix, gs://, abfs:// or memory://.",
        examples=["s3://my-bucket/clips"],
    )
    storage_options: SecretDict | None = Field(
        default=None,
        title="Storage options",
        description="What fsspec passes to the file system, such as key, secret and endpoint_url.",
    )
    daily_budget_usd: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        title="Daily budget in USD",
        description="What all renders into this store may cost in one UTC day; 0 lets only "
        "through what is free.",
    )

    def __new__(cls, *_: Any, **fields: Any) -> Self:
        """Take arguments by position too; Block's own takes none so."""
        return super().__new__(cls, **fields)

    def __init__(
        self,
        url: str | Path | None = None,
        storage_options: dict[str, Any] | None = None,
        /,
        **fields: Any,
    ) -> None:
        if url is not None:
            fields["url"] = url
        if storage_options is not None:
            fields["storage_options"] = storage_options
        if isinstance(fields.get("url"), Path):
            fields["url"] = str(fields["url"])
        if isinstance(fields.get("url"), str):
            without_password(fields["url"])
        super().__init__(**fields)

    @property
    def folder(self) -> VideoFolder:
        """The writer of this store."""
        options = self.storage_options.get_secret_value() if self.storage_options else {}
        if any(is_mask(value) for value in options.values()):
            raise masked("storage_options")
        saved = self._block_document_name
        name = f"{self.get_block_type_slug()}/{saved}" if saved else None
        return VideoFolder(self.url, options, name)

    @property
    def ledger(self) -> Ledger:
        """The records of this store."""
        return Ledger(self.folder)
