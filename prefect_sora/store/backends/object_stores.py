"""S3, Google and Azure: conditional writes, and uploads that end in one commit.

The code for Azure was built from the source of adlfs 2026.8, not run. The code for Google was
run once with gcsfs 2026.10 on an emulator, which knows no conditional writes. The tests run
against S3's interface, and drive Google's and Azure's way of uploading there.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, cast
from uuid import uuid4

from prefect_sora.limits import limits
from prefect_sora.store.backends.leftovers import CHECK_PREFIX, is_check, is_our_upload
from prefect_sora.store.backends.listings import names_below, s3_pages, unless_bucket_is_missing
from prefect_sora.store.backends.refusals import http_status
from prefect_sora.store.backends.uploads import MARK, ObjectUpload, S3Upload, content_type_of

_BESIDE = {"s3": ("ContentType", "Metadata"), "gs": ("content_type", "metadata")}
"""The driver's arguments for a file's type and for what else is told of it."""

_ON_S3 = (
    *("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage"),
    *("Metadata", "SSEKMSKeyId", "ServerSideEncryption", "StorageClass"),
)
"""What a copy of an object does not take over by itself."""


class ObjectStore:
    """A bucket or container, whose folders are prefixes."""

    def __init__(self, fs: Any, kind: str) -> None:
        self._fs, self.kind = fs, kind
        if kind == "s3":
            # s3fs repeats a request with a body that has been read to its end, and so
            # would store an empty part. botocore repeats it too, and rewinds it first.
            fs.retries = 1
            # With more than 1, s3fs asks for a file's size before it reads the file.
            fs.max_concurrency = 1

    def create(self, path: str, data: bytes) -> bool | None:
        """Write if nothing is there; where the answer got lost, look who wrote the file there.

        Drivers repeat a request whose answer did not come, and then meet their own
        object: so "it exists" alone does not mean that another writer won.
        """
        mark = uuid4().hex
        try:
            self._fs.pipe_file(path, data, mode="create", **self._about(path, mark))
        except FileExistsError:
            return self._is_ours(path, mark, data)
        except Exception as error:
            status = http_status(error)
            # 409: S3 met another writer at the same moment and decided nothing.
            if status in {409, 412}:
                return self._is_ours(path, mark, data)
            if isinstance(error, FileNotFoundError) or (status and status < 500):
                raise
            with suppress(Exception):  # an error of the look says less than the first error
                ours = self._is_ours(path, mark, data)
                if ours is not None:
                    return ours
            raise
        return True

    create_blindly = create

    def replace(self, path: str, data: bytes) -> None:
        """Put the object; readers see the old one or the new one."""
        self._fs.pipe_file(path, data, **self._about(path))

    def read(self, path: str) -> bytes | None:
        """Get the object."""
        try:
            return cast("bytes", self._fs.cat_file(path))
        except FileNotFoundError as error:
            unless_bucket_is_missing(error)
            return None

    def names(self, path: str) -> list[str]:
        """List one level below a prefix."""
        if self.kind == "s3":
            return sorted(name for page in self.pages(path, "", "/") for name in page)
        self._fs.invalidate_cache()
        return names_below(self._fs, path)

    def pages(self, path: str, starting: str, delimiter: str) -> Iterator[list[str]]:
        """List S3 page by page, in its order; without a delimiter, all that is below."""
        return s3_pages(self._fs, path, starting, delimiter)

    def delete(self, path: str) -> None:
        """Delete the object."""
        try:
            self._fs.rm_file(path)
        except FileNotFoundError as error:
            unless_bucket_is_missing(error)

    def upload(self, path: str) -> S3Upload | ObjectUpload:
        """Begin an upload in parts."""
        return S3Upload(self, path) if self.kind == "s3" else ObjectUpload(self, path)

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """Open with a small read-ahead."""
        with self._fs.open(
            path, "rb", block_size=limits().read_ahead_bytes, cache_type="readahead"
        ) as file:
            yield file

    def sweep(self, root: str, path: str, age: timedelta | None) -> list[str]:
        """Abort old uploads on S3, which bills their parts; Google and Azure forget them."""
        swept: list[str] = []
        if age is None:
            return swept
        if path == root:
            checks = self._fs.find(root, prefix=CHECK_PREFIX, withdirs=False)
            for name in (f for f in checks if is_check(f.removeprefix(f"{root.rstrip('/')}/"))):
                with suppress(FileNotFoundError):  # another sweep was there first
                    if _since(self._fs.modified(name)) >= age:
                        self._fs.rm_file(name)
                        swept.append(name)
        if self.kind == "s3":
            swept += self._abort_uploads(root, path, age)
        return sorted(swept)

    def _abort_uploads(self, root: str, path: str, age: timedelta) -> list[str]:
        bucket, below, _ = self._fs.split_path(path)
        base = self._fs.split_path(root)[1].rstrip("/")
        asked: dict[str, Any] = {"Bucket": bucket, "Prefix": f"{below}/" if below else ""}
        aborted = []
        while True:
            page = self._fs.call_s3("list_multipart_uploads", **asked)
            for upload in page.get("Uploads", []):
                key = upload["Key"]
                ours = is_our_upload(key.removeprefix(f"{base}/" if base else ""))
                if ours and _since(upload["Initiated"]) >= age:
                    self._fs.abort_mpu(bucket, key, upload["UploadId"])
                    aborted.append(f"{bucket}/{key}")
            if not page.get("IsTruncated"):
                return aborted
            asked["KeyMarker"] = page["NextKeyMarker"]
            asked["UploadIdMarker"] = page["NextUploadIdMarker"]

    def retype(self, path: str) -> bool:
        """Give a file its type, where it has another; all else of it stays as it is."""
        wanted = content_type_of(path)
        if self.kind == "gs":
            wrong = bool(self._fs.info(path).get("contentType") != wanted)
            if wrong:
                self._fs.setxattrs(path, content_type=wanted)
            return wrong
        if self.kind != "s3":
            raise NotImplementedError(f"{self.kind}:// is not known to change a file's type")
        head = self.call_s3("head_object", path)
        if head.get("ContentType") == wanted:
            return False
        bucket, key, _ = self._fs.split_path(path)
        self.call_s3(
            "copy_object",
            path,
            CopySource={"Bucket": bucket, "Key": key},
            CopySourceIfMatch=head["ETag"],
            MetadataDirective="REPLACE",
            ContentType=wanted,
            **{name: head[name] for name in _ON_S3 if name in head},
        )
        return True

    def begin(self, path: str, mark: str) -> Any:
        """Open fsspec's own upload, marked as ours."""
        # adlfs commits when closing, whatever it is told.
        settings = {"block_size": limits().part_bytes, "autocommit": self.kind == "abfs"}
        return self._fs.open(path, "wb", **settings, **self._about(path, mark))

    def call_s3(self, method: str, path: str, **arguments: Any) -> Any:
        """Send one of S3's own requests about the object at `path`."""
        bucket, key, _ = self._fs.split_path(path)
        return self._fs.call_s3(method, Bucket=bucket, Key=key, **arguments)

    def bears(self, path: str, mark: str) -> bool:
        """Say whether the object there is the one that we wrote with `mark`."""
        if self.kind == "s3":
            return bool(self._fs.metadata(path).get(MARK) == mark)
        if self.kind == "gs":
            return bool(self._fs.info(path).get("metadata", {}).get(MARK) == mark)
        return False

    def is_published(self, path: str, mark: str) -> bool:
        """Look whether a commit whose answer got lost was carried out."""
        with suppress(Exception):  # an error of the look says less than the commit's error
            return self.bears(path, mark)
        return False

    def _about(self, path: str, mark: str | None = None) -> dict[str, Any]:
        """What is written beside a file: its type, and whose it is."""
        content_type = content_type_of(path)
        if self.kind == "abfs":  # adlfs sets the metadata itself and takes no other
            return {"content_settings": {"content_type": content_type}}
        typed, marked = _BESIDE[self.kind]
        return {typed: content_type, **({marked: {MARK: mark}} if mark else {})}

    def _is_ours(self, path: str, mark: str, data: bytes) -> bool | None:
        try:
            if self.kind == "abfs":
                return bool(self._fs.cat_file(path) == data)
            return self.bears(path, mark)
        except FileNotFoundError:
            return None


def _since(moment: datetime) -> timedelta:
    return datetime.now(UTC) - moment
