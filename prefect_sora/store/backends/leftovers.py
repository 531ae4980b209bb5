"""Leftovers: files that dead writers left in a store are known by the shape of their names.

A store may be a whole bucket or a folder full of other people's files. Only names that this
package alone gives are ever removed, and only its own folders are looked into.
"""

import re
from typing import Final
from uuid import uuid4

_RENDER: Final = r"(?:[a-z0-9-]+-)?[0-9a-f]{12}"
_HIDDEN: Final = r"\.(?:characters|claims|open|paces|paid|spending|written)"
_FOLDER: Final = re.compile(rf"{_RENDER}|(?:films|batches)/{_RENDER}|{_HIDDEN}(?:/[^/]+)?")
_ABOVE: Final = re.compile(rf"|films|batches|{_HIDDEN}")

# Files that `VideoFolder.write` writes; S3 holds their parts until they are whole.
_UPLOAD: Final = re.compile(
    rf"{_RENDER}/(?:video\.mp4|image(?:-\d+)?(?:\.attempt-\d+)?\.(?:png|jpg|webp|gif))"
    rf"|films/{_RENDER}/film\.mp4"
)
_PART: Final = re.compile(r"\..+\.[0-9a-f]{32}\.part")
CHECK_PREFIX: Final = ".check-"
_CHECK: Final = re.compile(r"\.check-[0-9a-f]{32}|\.\.check-[0-9a-f]{32}\.[0-9a-f]{32}\.part")


def part_name(name: str) -> str:
    """A temporary name beside a file's own; unique, so that two writers never share one."""
    return f".{name}.{uuid4().hex}.part"


def is_part(name: str) -> bool:
    """Whether a file is still being written, or was never finished."""
    return _PART.fullmatch(name) is not None


def check_name() -> str:
    """A name for a file that exists only while a store is tried."""
    return f"{CHECK_PREFIX}{uuid4().hex}"


def is_check(name: str) -> bool:
    """Whether a file was left by a process that died while it tried the store."""
    return _CHECK.fullmatch(name) is not None


def is_our_folder(path: str) -> bool:
    """Whether a path below the store's root is a folder that this package writes to."""
    return _FOLDER.fullmatch(path) is not None


def leads_to_ours(path: str) -> bool:
    """Whether folders of this package may lie in this one; "" is the store's root."""
    return _ABOVE.fullmatch(path) is not None


def is_our_upload(path: str) -> bool:
    """Whether a path below the store's root is a file that this package uploads in parts."""
    return _UPLOAD.fullmatch(path) is not None
