"""The S3 server of `kept`: moto's, which holds a store from the start and counts what is asked.

`python -m benchmarks.bucket PORT KEPT` serves `s3://kept/clips`. `GET /asked` tells the
requests since it was asked last, by kind.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from time import time
from typing import Any

import moto.s3.models
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, run_simple

from benchmarks.kept import BUCKET, FOLDER, names_of

ACCOUNT = "123456789012"


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""


def fill(kept: int) -> None:
    """Put a store's names into the server's memory; what they hold is never read."""
    backend = moto.s3.models.s3_backends[ACCOUNT]["aws"]
    bucket = backend.create_bucket(BUCKET, "us-east-1")
    thing = backend.put_object(BUCKET, f"{FOLDER}/.open/complete.json", b'{"at": %f}' % time())
    thing = backend.put_object(BUCKET, f"{FOLDER}/.paid/complete.json", b"{}")
    for number in range(kept):
        for name in names_of(number):
            bucket.keys[f"{FOLDER}/{name}"] = thing


def counting(serve: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Count the requests on their way."""
    asked: Counter[str] = Counter()

    def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/asked":
            body = json.dumps(asked).encode()
            asked.clear()
            start("200 OK", [("Content-Length", f"{len(body)}")])
            return [body]
        is_list = "list-type" in environ["QUERY_STRING"] or "uploads" in environ["QUERY_STRING"]
        asked["LIST" if is_list else environ["REQUEST_METHOD"]] += 1
        return serve(environ, start)

    return app


if __name__ == "__main__":
    fill(int(sys.argv[2]))
    run_simple(
        "127.0.0.1",
        int(sys.argv[1]),
        counting(DomainDispatcherApplication(create_backend_app)),
        threaded=True,
        request_handler=_Quiet,
    )
