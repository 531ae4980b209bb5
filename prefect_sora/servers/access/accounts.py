"""Accounts: who asks is recognised again, without the key."""

import hashlib
import hmac
import os
from functools import cache, lru_cache
from typing import Final

from prefect_sora.errors import InvalidRequestError


def check_sendable(**given: str | None) -> None:
    """Refuse what no header can carry; the HTTP library's own error would quote it.

    Raises:
        InvalidRequestError: It names which of them.
    """
    for name, text in given.items():
        if text and not (text.isascii() and text.isprintable()):
            raise InvalidRequestError(
                f"{name} holds a character that no header can carry.",
                next_step="Copy it again: it is one line of letters, digits and signs.",
            )


NO_KEY: Final = "no key"
"""Stands in a record for the account, where no key is sent or all keys see the same list."""

_COST: Final = 2**14
"""scrypt's N, with r = 8: 16 MiB and some 50 ms a guess, as its author gives for a log-in
(Percival, 2009). A provider's key cannot be guessed at any cost, but a gateway's may be
`sk-1234`, and whoever can read a store can guess for any length of time."""

_SCHEME: Final = "scrypt"


def written_down(credentials: bytes) -> str:
    """Make what a record may hold of the credentials: a salted digest.

    The salt is one for each process, so that ten thousand renders cost one digest.
    """
    if not credentials:
        return NO_KEY
    salt = _salt(os.getpid())
    return f"{_SCHEME}${salt}${_digest(salt, credentials)}"


def is_same(stored: str, credentials: bytes) -> bool | None:
    """Whether the digest is one of these credentials; None where it cannot be read."""
    if stored == NO_KEY or not credentials:
        return stored == NO_KEY and not credentials
    scheme, _, rest = stored.partition("$")
    salt, _, digest = rest.partition("$")
    if scheme != _SCHEME or not salt or not digest:
        return None
    return hmac.compare_digest(digest, _digest(salt, credentials))


@cache
def _salt(pid: int) -> str:
    return os.urandom(8).hex()


@lru_cache(maxsize=4096)  # one for each process whose records are looked at
def _digest(salt: str, credentials: bytes) -> str:
    return hashlib.scrypt(
        credentials, salt=salt.encode(), n=_COST, r=8, p=1, maxmem=2**26, dklen=16
    ).hex()
