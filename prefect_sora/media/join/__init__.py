"""Join: clips on this machine become one film, their packets copied wherever that works."""

from prefect_sora.media.join.contact_sheets import contact_sheet, last_frame
from prefect_sora.media.join.joining import Film, Part, join
from prefect_sora.media.join.soundtrack import check_sound, lay_sound

__all__ = ["Film", "Part", "check_sound", "contact_sheet", "join", "last_frame", "lay_sound"]
