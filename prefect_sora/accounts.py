"""Accounts: remember who asked a server, and recognise them again, without holding their key.

Two keys on one address are two accounts, each with a list of jobs of its own: what one
of them is not shown may be the other's.
"""

import hashlib
import hmac
import os
from functools import cache, lru_cache
from typing import Final

NO_KEY: Final = "no key"
"""What is written down of a server that was asked without one."""

_COST: Final = 2**14
"""scrypt's N, with r = 8: 16 MiB and some 50 ms a guess, as its author gives for a log-in
(Percival, 2009). A provider's key cannot be guessed at any cost, but a gateway's may be
`sk-1234`, and whoever may read a store may guess at leisure."""

_SCHEME: Final = "scrypt"


def written_down(credentials: bytes) -> str:
    """Make what a record may hold of the credentials: a salted digest.

    The salt is one for each process, so that ten thousand renders cost one digest.
    """
    salt = _salt(os.getpid())
    return f"{_SCHEME}${salt}${_digest(salt, credentials)}"


def is_same(stored: str, credentials: bytes) -> bool | None:
    """Whether the digest is one of these credentials; None where it cannot be read."""
    scheme, _, rest = stored.partition("$")
    salt, _, digest = rest.partition("$")
    if scheme != _SCHEME or not salt or not digest:
        return None
    return hmac.compare_digest(digest, _digest(salt, credentials))


@cache
def _salt(pid: int) -> str:
    return os.urandom(8).hex()


@lru_cache(maxsize=4096)  # one for each process that wrote a record that is looked at
def _digest(salt: str, credentials: bytes) -> str:
    return hashlib.scrypt(
        credentials, salt=salt.encode(), n=_COST, r=8, p=1, maxmem=2**26, dklen=16
    ).hex()
