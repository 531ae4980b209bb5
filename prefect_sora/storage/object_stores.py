"""S3, Google and Azure: conditional writes, and uploads that end in one commit.

Azure's was built from the source of adlfs 2026.8, not run. Google's was run once with
gcsfs 2026.10 on an emulator, which knows no conditional writes. The tests run against
S3's interface, and drive the others' way of uploading there.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, BinaryIO, cast
from uuid import uuid4

from prefect_sora.storage.refusals import http_status, service_code

# S3 takes 10,000 parts, so 80 GB; an upload holds about two.
_PART_BYTES = 8 * 2**20
_READ_AHEAD_BYTES = 512 * 2**10
_CHECKSUMS = (
    "ChecksumCRC32",
    "ChecksumCRC32C",
    "ChecksumCRC64NVME",
    "ChecksumSHA1",
    "ChecksumSHA256",
)
_MARK = "prefect-sora-writer"


class ObjectStore:
    """A bucket or container, whose folders are prefixes."""

    def __init__(self, fs: Any, kind: str) -> None:
        self._fs, self.kind = fs, kind
        if kind == "s3":
            # s3fs repeats a request with a body that has been read to its end, and so
            # would store an empty part. botocore repeats it too, and rewinds it first.
            fs.retries = 1

    def create(self, path: str, data: bytes) -> bool | None:
        """Write if nothing is there; where the answer got lost, look whose file stands there.

        Drivers repeat a request whose answer did not come, and then meet their own
        object: so "it exists" alone does not mean that another writer won.
        """
        mark = uuid4().hex
        try:
            self._fs.pipe_file(path, data, mode="create", **self._marked(mark))
        except FileExistsError:
            return self._is_ours(path, mark, data)
        except Exception as error:
            status = http_status(error)
            # 409: S3 met another writer at the same moment and decided nothing.
            if status in {409, 412}:
                return self._is_ours(path, mark, data)
            if isinstance(error, FileNotFoundError) or (status and status < 500):
                raise
            with suppress(Exception):  # what the look raises says less than the first error
                ours = self._is_ours(path, mark, data)
                if ours is not None:
                    return ours
            raise
        return True

    def replace(self, path: str, data: bytes) -> None:
        """Put the object; stores show the old one or the new one."""
        self._fs.pipe_file(path, data)

    def read(self, path: str) -> bytes | None:
        """Get the object."""
        try:
            return cast("bytes", self._fs.cat_file(path))
        except FileNotFoundError as error:
            _unless_bucket_is_missing(error)
            return None

    def names(self, path: str) -> list[str]:
        """List one level below a prefix."""
        self._fs.invalidate_cache()
        return names_below(self._fs, path)

    def delete(self, path: str) -> None:
        """Delete the object."""
        try:
            self._fs.rm_file(path)
        except FileNotFoundError as error:
            _unless_bucket_is_missing(error)

    def upload(self, path: str) -> "S3Upload | ObjectUpload":
        """Begin an upload in parts."""
        return S3Upload(self, path) if self.kind == "s3" else ObjectUpload(self, path)

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """Open with a small read-ahead."""
        with self._fs.open(
            path, "rb", block_size=_READ_AHEAD_BYTES, cache_type="readahead"
        ) as file:
            yield file

    def sweep(self, path: str, age: timedelta | None) -> list[str]:
        """Abort old uploads on S3, which bills their parts; Google and Azure forget them."""
        swept: list[str] = []
        if self.kind != "s3" or age is None:
            return swept
        bucket, prefix, _ = self._fs.split_path(path)
        for upload in self._fs.list_multipart_uploads(bucket):
            key, begun = upload["Key"], upload["Initiated"]
            if key.startswith(f"{prefix}/" if prefix else "") and _since(begun) >= age:
                self._fs.abort_mpu(bucket, key, upload["UploadId"])
                swept.append(f"{bucket}/{key}")
        return sorted(swept)

    def begin(self, path: str, mark: str) -> Any:
        """Open fsspec's own upload, marked as ours."""
        # adlfs commits when closing, whatever it is told.
        settings = {"block_size": _PART_BYTES, "autocommit": self.kind == "abfs"}
        return self._fs.open(path, "wb", **settings, **self._marked(mark))

    def call_s3(self, method: str, path: str, **arguments: Any) -> Any:
        """Send one of S3's own requests about the object at `path`."""
        bucket, key, _ = self._fs.split_path(path)
        return self._fs.call_s3(method, Bucket=bucket, Key=key, **arguments)

    def bears(self, path: str, mark: str) -> bool:
        """Say whether the object there is the one that we wrote with `mark`."""
        if self.kind == "s3":
            return bool(self._fs.metadata(path).get(_MARK) == mark)
        if self.kind == "gs":
            return bool(self._fs.info(path).get("metadata", {}).get(_MARK) == mark)
        return False

    def is_published(self, path: str, mark: str) -> bool:
        """Look whether a commit without an answer was carried out all the same."""
        with suppress(Exception):  # what the look raises says less than the commit's error
            return self.bears(path, mark)
        return False

    def _marked(self, mark: str) -> dict[str, Any]:
        # adlfs sets the metadata itself and takes no other.
        argument = {"s3": "Metadata", "gs": "metadata"}.get(self.kind)
        return {argument: {_MARK: mark}} if argument else {}

    def _is_ours(self, path: str, mark: str, data: bytes) -> bool | None:
        try:
            if self.kind == "abfs":
                return bool(self._fs.cat_file(path) == data)
            return self.bears(path, mark)
        except FileNotFoundError:
            return None


class S3Upload:
    """One part in memory, the others on the server; they have no name until joined.

    s3fs's own file would do, but holds three times as much: it copies each part
    while sending it, and leaves the copies to the allocators of many threads.
    """

    def __init__(self, store: ObjectStore, path: str) -> None:
        self._store, self._path = store, path
        self._mark = uuid4().hex
        self._marked = {_MARK: self._mark}
        self._part = io.BytesIO()
        self._upload_id: str | None = None
        self._sent: list[dict[str, Any]] = []

    def write(self, data: bytes) -> None:
        """Append `data`; it is sent once a part is full."""
        rest = memoryview(data)
        while rest:
            taken = self._part.write(rest[: _PART_BYTES - self._part.tell()])
            rest = rest[taken:]
            if self._part.tell() == _PART_BYTES:
                self._send()

    def publish(self) -> None:
        """Join the parts under the name; put a file of less than one part at once."""
        call = partial(self._store.call_s3, path=self._path)
        try:
            if self._upload_id is None:
                call("put_object", Body=self._rewound(), Metadata=self._marked)
                return
            if self._part.tell():
                self._send()
            parts = {"Parts": self._sent}
            call("complete_multipart_upload", UploadId=self._upload_id, MultipartUpload=parts)
        except Exception:
            # A repeated request whose first answer got lost finds no upload any more.
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
            begun = self._store.call_s3(
                "create_multipart_upload", self._path, Metadata=self._marked
            )
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

    def __init__(self, store: ObjectStore, path: str) -> None:
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


def names_below(fs: Any, path: str) -> list[str]:
    """List one level of an fsspec file system."""
    try:
        entries = fs.ls(path, detail=True)
    except FileNotFoundError as error:
        _unless_bucket_is_missing(error)
        return []
    prefix = path.strip("/") + "/" if path.strip("/") else ""
    names = set()
    for entry in entries:
        # The folder's own entry, or the file that bears the folder's name, is not below it.
        below = entry["name"].strip("/").removeprefix(prefix)
        if below and "/" not in below:
            names.add(below + "/" * (entry["type"] == "directory"))
    return sorted(names)


def _unless_bucket_is_missing(error: FileNotFoundError) -> None:
    """Tell an absent object from an absent bucket: no record is not the same as no store."""
    if service_code(error) in {"NoSuchBucket", "ContainerNotFound"}:
        raise error


def _since(moment: datetime) -> timedelta:
    return datetime.now(UTC) - moment
