"""Stitching: clips on this machine become one film, their packets copied wherever that works."""

from prefect_sora.stitching.joining import Film, Part, join
from prefect_sora.stitching.pictures import contact_sheet, last_frame

__all__ = ["Film", "Part", "contact_sheet", "join", "last_frame"]
