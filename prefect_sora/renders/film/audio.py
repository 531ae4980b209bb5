"""Audio: a film's own sound: loaded and tried before any shot is paid for, then laid on it."""

from pathlib import Path
from tempfile import NamedTemporaryFile

from prefect_sora.errors import InvalidRequestError
from prefect_sora.limits import limits
from prefect_sora.media.join import check_sound, lay_sound
from prefect_sora.requests import files
from prefect_sora.requests.storyboard import Audio
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.backends.concurrency import to_its_end
from prefect_sora.store.backends.filesystems import scheme_of


async def audio_of(audio: Audio | None, store: VideoFolder) -> bytes | None:
    """Load a film's own sound, and check that it can be decoded; None where it has none.

    Args:
        audio: What the storyboard says.
        store: A file beside the clips is read with the store's own credentials.

    Raises:
        InvalidRequestError: It cannot be read.
        JoinError: It has no sound.
    """
    if audio is None:
        return None
    beside = "://" in audio.source and scheme_of(audio.source) == scheme_of(store.url("films"))
    try:
        data = await files.load(
            audio.source,
            max_bytes=limits().audio_max_bytes,
            options=store.options if beside else None,
            private=False,
        )
    except files.UnreadableError as error:
        raise InvalidRequestError(
            f"The film's audio {files.public_address(audio.source)} {error}.",
            next_step="Give a sound file, or leave `audio` out.",
        ) from None

    def check() -> None:
        with NamedTemporaryFile(prefix="prefect-sora-") as file:
            file.write(data)
            file.flush()
            check_sound(Path(file.name))

    await to_its_end(check)
    return data


def lay(joined: Path, film: Path, audio: Audio, sound: bytes) -> None:
    """Write the film with its sound; blocks, so call it in a thread."""
    track = film.with_name("audio")
    track.write_bytes(sound)
    lay_sound(joined, track, film, fade_seconds=audio.fade_seconds, repeat=audio.repeat)
