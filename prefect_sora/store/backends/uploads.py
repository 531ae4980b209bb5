"""Uploads: a file on its way into an object store, in parts that one commit joins."""

import io
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from prefect_sora.limits import limits

if TYPE_CHECKING:  # it makes them
    from prefect_sora.store.backends.object_stores import ObjectStore

MARK: Final = "prefect-sora-writer"
"""The metadata that tells whose an object is, where an answer got lost."""

_TYPES: Final = {
    ".csv": "text/csv; charset=utf-8",
    ".gif": "image/gif",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".mp4": "video/mp4",
    ".png": "image/png",
    ".webp": "image/webp",
}
"""By IANA's registry of media types (2026-11); JSON lines are not in it."""


def content_type_of(path: str) -> str:
    """What a browser does with a file of ours, by its name: a film plays, a picture is shown."""
    return _TYPES.get(path[path.rfind(".") :], "application/octet-stream")


_CHECKSUMS = (
    "ChecksumCRC32",
    "ChecksumCRC32C",
    "ChecksumCRC64NVME",
    "ChecksumSHA1",
    "ChecksumSHA256",
)


class S3Upload:
    """One part in memory, the others on the server; parts have no name until they are joined.

    s3fs's own file would do, but holds three times as much: it copies each part
    while sending it, and the allocators of many threads keep the copies.
    """

    def __init__(self, store: "ObjectStore", path: str) -> None:
        self._store, self._path = store, path
        self._mark = uuid4().hex
        self._about: dict[str, Any] = {
            "Metadata": {MARK: self._mark},
            "ContentType": content_type_of(path),
        }
        self._part, self._part_bytes = io.BytesIO(), limits().part_bytes
        self._upload_id: str | None = None
        self._sent: list[dict[str, Any]] = []

    def write(self, data: bytes) -> None:
        """Append `data`; it is sent once a part is full."""
        rest = memoryview(data)
        while rest:
            taken = self._part.write(rest[: self._part_bytes - self._part.tell()])
            rest = rest[taken:]
            if self._part.tell() == self._part_bytes:
                self._send()

    def publish(self) -> None:
        """Join the parts under the name; put a file of less than one part at once."""
        call = partial(self._store.call_s3, path=self._path)
        try:
            if self._upload_id is None:
                call("put_object", Body=self._rewound(), **self._about)
                return
            if self._part.tell():
                self._send()
            parts = {"Parts": self._sent}
            call("complete_multipart_upload", UploadId=self._upload_id, MultipartUpload=parts)
        except Exception:
            # Where the first answer got lost, a repeated request finds no upload any more.
            if not self._store.is_published(self._path, self._mark):
                raise
        self._upload_id = None

    def discard(self) -> None:
        """Abort, so that no part stays."""
        if self._upload_id is not None:
            self._store.call_s3("abort_multipart_upload", self._path, UploadId=self._upload_id)
            self._upload_id = None

    def _send(self) -> None:
        if self._upload_id is None:
            begun = self._store.call_s3("create_multipart_upload", self._path, **self._about)
            self._upload_id = begun["UploadId"]
        number = len(self._sent) + 1
        part = self._store.call_s3(
            "upload_part",
            self._path,
            PartNumber=number,
            UploadId=self._upload_id,
            Body=self._rewound(),
        )
        checks = {key: part[key] for key in _CHECKSUMS if key in part}
        self._sent.append({"PartNumber": number, "ETag": part["ETag"], **checks})
        self._part.seek(0)

    def _rewound(self) -> io.BytesIO:
        # One buffer for all parts; a driver that repeats a request rewinds it too.
        self._part.truncate()
        self._part.seek(0)
        return self._part


class ObjectUpload:
    """fsspec's own file: parts without a name, until the commit joins them."""

    def __init__(self, store: "ObjectStore", path: str) -> None:
        self._store, self._path, self._mark = store, path, uuid4().hex
        self._file: Any = None
        self._published = False

    def write(self, data: bytes) -> None:
        """Append `data`; it is sent once a part is full."""
        if self._file is None:
            self._file = self._store.begin(self._path, self._mark)
        self._file.write(data)

    def publish(self) -> None:
        """Commit the parts under the name."""
        self.write(b"")
        try:
            if self._store.kind == "abfs":
                self._file.close()
            else:
                self._file.flush(force=True)
                self._file.commit()
        except Exception:
            if not self._store.is_published(self._path, self._mark):
                raise
        self._published = True
        self._file.close()

    def discard(self) -> None:
        """Abort, so that no part stays."""
        if self._file is None or self._published:
            return
        self._file.forced = True  # closing must not send the rest, let alone commit it
        self._file.close()
        self._file.discard()
