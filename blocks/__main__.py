"""Save every block document of this folder in Prefect: `python blocks`, once or many times.

Each other file here is one document. Its name is the document's, with dashes, and
its `document()` makes the block, or says why there is none.
"""

import asyncio
import sys
from pathlib import Path
from runpy import run_path

from prefect.blocks.core import Block

from prefect_sora import InvalidRequestError


async def save_all() -> None:
    """Save all documents in place of their earlier selves, and print what was saved."""
    for name, block in _documents().items():
        if isinstance(block, str):
            print(f"skipped  {name}: {block}")
        else:
            await block.asave(name, overwrite=True)
            print(f"saved    {block.get_block_type_slug()}/{name}")


def _documents() -> dict[str, Block | str]:
    """Make them all before any is saved, each by its path: `blocks` may be a package elsewhere."""
    documents = {}
    for file in sorted(Path(__file__).parent.glob("[!_]*.py")):
        name = file.stem.replace("_", "-")
        try:
            documents[name] = run_path(str(file))["document"]()
        except InvalidRequestError as error:
            sys.exit(f"{name}: {error.message} {error.next_step or ''}")
    return documents


if __name__ == "__main__":
    asyncio.run(save_all())
