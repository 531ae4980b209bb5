"""Asking: what tests themselves ask of servers on this machine.

A client that is made anew each time reads all certificates of the machine anew, which takes longer
than the answer. `ask` keeps no connection: processes die here, and others take their ports.
"""

import ssl
from threading import Event
from time import monotonic
from typing import Any, Final

import httpx2

_NO_CERTIFICATES: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def client(**options: Any) -> httpx2.Client:
    """Make a client with options of `httpx2.Client`; close it."""
    return httpx2.Client(verify=_NO_CERTIFICATES, trust_env=False, timeout=30, **options)


ask: Final = client(limits=httpx2.Limits(max_keepalive_connections=0))
"""The one of this process."""


def ask_prefect(method: str, url: str, **options: Any) -> httpx2.Response:
    """Ask a Prefect server as its own client does: again where SQLite was locked or it was busy.

    What makes something has a key of its own, so that what is asked for twice is made once.
    """
    ended = monotonic() + 120
    while True:
        try:
            answer = ask.request(method, url, **options)
        except httpx2.TimeoutException:
            if monotonic() > ended:
                raise
            continue
        if answer.status_code != 503 or monotonic() > ended:
            return answer
        Event().wait(0.5)
