"""Join: clips on this machine become one film, their packets copied wherever that works."""

from prefect_sora.media.join.contact_sheets import contact_sheet, last_frame
from prefect_sora.media.join.joining import Film, Part, join

__all__ = ["Film", "Part", "contact_sheet", "join", "last_frame"]
