"""What each dialect of the local renderer is expected to keep of the contract: one table.

`python -m tests.contract.dialects` writes it into docs/contract.md.
"""

from pathlib import Path
from typing import Final

from prefect_sora.renders.contract import BEHAVIOURS, Outcome

DIALECTS: Final = (
    "openai",
    "azure",
    "sglang",
    "vllm-omni",
    "fastvideo",
    "tensorrt-llm",
    "litellm",
    "new-api",
    "openrouter",
    "together",
    "xai",
    "bifrost",
)

_LETTERS: Final[dict[str, Outcome]] = {
    "h": "held",
    "r": "refused",
    "d": "drawn",
    "i": "ignored",
    "?": "in doubt",
}

# One letter for each of DIALECTS, in their order.
_TABLE: Final = {
    "create from text": "h h h h h h h h h h h h",
    "resume": "h h h h h h h h h h h h",
    "wait with progress": "h h h h h h h h h h h h",
    "retrieve": "h h h h h h h h h h h h",
    "list": "h h h h h h r r r r r h",
    "download whole": "h h h h h h h h h h h h",
    "still": "h d d d d d d d d d d d",
    "create from image": "h h h h h h h h h h h h",
    "remix": "h h r r r r h h r r r h",
    "edit": "h r r r r r h r h h h r",
    "extend": "h r r r r r h r h r h r",
    "character": "h r r r r r r r r r r r",
    "unknown id": "h h h h h h h h h h h h",
    "wrong model": "i h i h i i h h h h h h",
    "failing job": "h h h h h h h h h h h h",
    "moderation": "h h h h h h h h h h h h",
    "orphan recovery": "h h ? h ? h ? ? ? ? ? h",
    "delete": "h h h h h h r r r r r h",
}

EXPECTED: Final[dict[str, dict[str, Outcome]]] = {
    dialect: {name: _LETTERS[row.split()[column]] for name, row in _TABLE.items()}
    for column, dialect in enumerate(DIALECTS)
}
"""The outcome by dialect and behaviour."""

PAGE: Final = Path(__file__).parents[2] / "docs" / "contract.md"
_BEGIN, _END = "<!-- table -->\n", "<!-- /table -->\n"


def table() -> str:
    """The table as Markdown."""
    rows = [
        ["behaviour", *DIALECTS, "what is expected"],
        ["---"] * (len(DIALECTS) + 2),
        *(
            [
                one.name,
                *(EXPECTED[dialect][one.name] for dialect in DIALECTS),
                (one.attempt.__doc__ or "").strip(),
            ]
            for one in BEHAVIOURS
        ),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def page() -> str:
    """The page of the docs with the table in its place."""
    text = PAGE.read_text("utf-8")
    head, _, rest = text.partition(_BEGIN)
    return f"{head}{_BEGIN}{table()}{_END}{rest.partition(_END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
