"""Refusals: a file system's error becomes one that says what is wrong and what to do next.

The file system's own words are kept, but the values of options are left out: options hold
secrets, and an error travels into logs, the Prefect UI and pickles.
"""

import errno
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from prefect_sora.errors import InvalidRequestError, StorageError

_MISSING = (
    "the bucket or container does not exist",
    "Create it, or correct its name in the store's URL.",
)
_ABSENT = (
    "it does not exist, or its bucket or container does not",
    "Correct the name or the store's URL.",
)
_DENIED = (
    "access is denied",
    "Allow these credentials to list, read, write and delete there.",
)
_CREDENTIALS = (
    "the credentials are wrong or have expired",
    "Renew them in the store's options.",
)
_NO_CREDENTIALS = (
    "no credentials were found",
    "Put them into the store's options, or into the environment{}.",
)
_VARIABLES = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gcs": "GOOGLE_APPLICATION_CREDENTIALS, the path of a key file",
    "abfs": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
"""What the drivers look for: boto3, gcsfs and adlfs, as their documentation has it (2026)."""
_SILENT = (
    "the service does not answer",
    "Check the endpoint in the store's options and the network, then try again.",
)
_FULL = ("it is full", "Free some space there, then try again.")
_READ_ONLY = (
    "it is not writable",
    "Give this user write access there, or choose another folder.",
)
_IN_THE_WAY = (
    "a file stands where a folder is needed, or a folder where a file is",
    "Move it away, or choose another folder.",
)
_UNKNOWN = ("the file system refused", "Put right what it names, then try again.")

_HIDDEN = re.compile(r"/\.(?:open|claims|spending|paid|check-)[^/]*(?:/.*)?$")
"""What this package keeps in a store for itself, under names that nobody has typed."""

_BY_CODE = {
    "NoSuchBucket": _MISSING,
    "ContainerNotFound": _MISSING,
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "AuthenticationFailed": _CREDENTIALS,
    "ExpiredToken": _CREDENTIALS,
    "InvalidAccessKeyId": _CREDENTIALS,
    "InvalidToken": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "TokenRefreshRequired": _CREDENTIALS,
}
_BY_STATUS = {401: _CREDENTIALS, 403: _DENIED, 404: _ABSENT, 507: _FULL}
_BY_CLASS = {
    "NoCredentialsError": _NO_CREDENTIALS,
    "PartialCredentialsError": _NO_CREDENTIALS,
    "DefaultCredentialsError": _NO_CREDENTIALS,
    "CredentialRetrievalError": _CREDENTIALS,
    "ClientAuthenticationError": _CREDENTIALS,
    "HTTPClientError": _SILENT,
    "ClientConnectionError": _SILENT,
    "ServiceRequestError": _SILENT,
    "TimeoutError": _SILENT,
    "FileExistsError": _IN_THE_WAY,
    "FileNotFoundError": _ABSENT,
    "PermissionError": _DENIED,
    "ConnectionError": _SILENT,
}
_BY_ERRNO = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: (
        "files may not grow this large there",
        "Raise the limit on file sizes, or choose another folder.",
    ),
    errno.EACCES: _READ_ONLY,
    errno.EPERM: _READ_ONLY,
    errno.EROFS: _READ_ONLY,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EISDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
    errno.ENOTEMPTY: _IN_THE_WAY,
    errno.ENOENT: (
        "it does not exist, or its folder cannot be made",
        "Choose another folder, or correct the name.",
    ),
    errno.ENAMETOOLONG: ("the name is too long", "Choose a shorter folder or prompt slug."),
}
_EXTRAS = {"gs": "gcs", "gcs": "gcs", "abfs": "abfs", "abfss": "abfs", "az": "abfs"}

# Options whose values are no secrets; a reader needs the values in order to mend them.
_HARMLESS = {
    "account_name",
    "addressing_style",
    "endpoint_url",
    "profile",
    "project",
    "region_name",
    "signature_version",
}


def refusal(error: Exception, url: str, options: Mapping[str, Any]) -> StorageError:
    """Say what `error` means for the file at `url`, without any secret.

    Args:
        error: What the file system or its driver raised.
        url: What was asked for.
        options: The store's options, whose values must not show.
    """
    if isinstance(error, ImportError):
        what, next_step = _missing_driver(url)
    else:
        what, next_step = _meaning(error)
    named = _VARIABLES.get(_EXTRAS.get(url.partition("://")[0], "s3") if "://" in url else "")
    next_step = next_step.replace("{}", f": {named}" if named else "")
    detail = f"{type(error).__name__}: {error}".removesuffix(": ")
    if isinstance(error, OSError) and error.errno in _BY_ERRNO and error.strerror:
        detail = error.strerror  # the path in its text may be a file that nobody has named
    # The URL keeps its text: a bucket's name may well hold an access key's name.
    return StorageError(f"{_called(url)}: {what} ({_hide(detail, options)}).", next_step=next_step)


def _called(url: str) -> str:
    """Call a place as people do: a path on a disk, and the store for what stands hidden in it."""
    path = url.removeprefix("file://") if url.startswith("file:///") else url
    root = _HIDDEN.sub("", path)
    return f"The store {root}" if root != path else path


def plain_url(root: str) -> str:
    """Return a root's URL without passwords and signatures, which belong in the options."""
    # user:password@host; not container@account, which Azure's URLs hold.
    return re.sub(r"//[^/@\s:]*:[^/@\s]*@", "//", root.partition("?")[0])


def http_status(error: BaseException) -> int | None:
    """The HTTP status behind an error of any of the drivers, if there is one."""
    for each in _with_causes(error):
        response = getattr(each, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        else:
            status = getattr(each, "status_code", getattr(each, "code", None))
        if isinstance(status, int):
            return status
    return None


def service_code(error: BaseException) -> str | None:
    """The storage service's own name for an error, such as `NoSuchBucket`."""
    for each in _with_causes(error):
        response = getattr(each, "response", None)
        code = (
            response.get("Error", {}).get("Code")
            if isinstance(response, dict)
            else getattr(each, "error_code", None)
        )
        if code:
            return str(code)
    return None


def _meaning(error: Exception) -> tuple[str, str]:
    code = service_code(error)
    if code in _BY_CODE:
        return _BY_CODE[code]
    status = http_status(error)
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if isinstance(error, OSError) and error.errno in _BY_ERRNO:
        return _BY_ERRNO[error.errno]
    for kind in type(error).__mro__:
        if kind.__name__ in _BY_CLASS:
            return _BY_CLASS[kind.__name__]
    if str(error).startswith("Forbidden"):  # gcsfs turns a 403 into an OSError without a number
        return _DENIED
    return _UNKNOWN


def _missing_driver(url: str) -> tuple[str, str]:
    scheme = url.partition("://")[0]
    extra = _EXTRAS.get(scheme)
    package = f"prefect-sora[{extra}]" if extra else "prefect-sora"
    return (f"the driver for {scheme}:// is not installed", f'Run: pip install "{package}"')


def _hide(text: str, options: Mapping[str, Any]) -> str:
    # The longest first: a short value may be part of a longer one.
    for value in sorted(_values(options), key=len, reverse=True):
        for shown in (value, quote(value, safe=""), repr(value)[1:-1]):
            text = text.replace(shown, "***")
    return re.sub(r"//[^/@\s:]*:[^/@\s]*@", "//***@", text)


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _values(options: Any, key: str = "") -> Iterator[str]:
    if isinstance(options, Mapping):
        for name, value in options.items():
            yield from _values(value, str(name))
    elif isinstance(options, list | tuple | set):
        for value in options:
            yield from _values(value, key)
    elif key not in _HARMLESS and not isinstance(options, int | float | None):
        text = options.decode(errors="replace") if isinstance(options, bytes) else str(options)
        # Hiding "1" or "eu" would protect nothing and make the message unreadable.
        if len(text) > 3:
            yield text


def without_password(root: str) -> str:
    """Return an address, unless it has a password in it.

    Raises:
        InvalidRequestError: It has one.
    """
    if re.match(r"[^/?#]*://[^/?#@]*:[^/?#]*@", root):
        raise InvalidRequestError(
            "The store's address carries a password: addresses end up in logs and records.",
            next_step="Take it out; give it as storage options, in VideoStore(url, {...}), or as "
            "the driver's own variables, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        )
    return root
