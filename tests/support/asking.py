"""Asking: what tests themselves ask of servers on this machine.

A client that is made anew each time reads all certificates of the machine anew, which takes longer
than the answer. `ask` keeps no connection: processes die here, and others take their ports.
"""

import ssl
from typing import Any, Final

import httpx2

_NO_CERTIFICATES: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def client(**options: Any) -> httpx2.Client:
    """Make a client with options of `httpx2.Client`; close it."""
    return httpx2.Client(verify=_NO_CERTIFICATES, trust_env=False, timeout=30, **options)


ask: Final = client(limits=httpx2.Limits(max_keepalive_connections=0))
"""The one of this process."""
