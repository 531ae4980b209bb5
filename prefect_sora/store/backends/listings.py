"""Listings: the names below a prefix of an object store, never from a cache."""

from collections.abc import Iterator
from typing import Any

from prefect_sora.store.backends.refusals import service_code


def s3_pages(fs: Any, path: str, starting: str, delimiter: str) -> Iterator[list[str]]:
    """List S3 page by page, in its order; without a delimiter, all that is below.

    s3fs itself would hold all it learns of each file. It looks for an absent folder by listing
    the folder above, which is the whole store.
    """
    bucket, prefix, _ = fs.split_path(path)
    prefix = f"{prefix}/" if prefix else ""
    asked: dict[str, str] = {"Prefix": prefix + starting, "Delimiter": delimiter}
    while True:
        page = fs.call_s3("list_objects_v2", Bucket=bucket, **asked)
        found = [folder["Prefix"] for folder in page.get("CommonPrefixes", [])]
        found += [file["Key"] for file in page.get("Contents", [])]
        below = (name.removeprefix(prefix) for name in found)
        yield [name for name in below if name.strip("/")]  # not the folder's own entry
        if not page.get("IsTruncated"):
            return
        asked["ContinuationToken"] = page["NextContinuationToken"]


def names_below(fs: Any, path: str) -> list[str]:
    """List one level of an fsspec file system."""
    try:
        entries = fs.ls(path, detail=True)
    except FileNotFoundError as error:
        unless_bucket_is_missing(error)
        return []
    prefix = path.strip("/") + "/" if path.strip("/") else ""
    names = set()
    for entry in entries:
        # The folder's own entry, and a file with the folder's name, are not below the folder.
        below = entry["name"].strip("/").removeprefix(prefix)
        if below and "/" not in below:
            names.add(below + "/" * (entry["type"] == "directory"))
    return sorted(names)


def unless_bucket_is_missing(error: FileNotFoundError) -> None:
    """Raise the error again where the whole bucket is missing, which is more than an empty folder.

    Raises:
        FileNotFoundError: The bucket or container does not exist.
    """
    if service_code(error) in {"NoSuchBucket", "ContainerNotFound"}:
        raise error
