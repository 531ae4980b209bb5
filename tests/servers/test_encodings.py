"""Encodings: a create refused unread is sent once in the other encoding, and nothing else is."""

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from time import time
from typing import Annotated, Any

import pytest
import uvicorn
from fastapi import FastAPI, Form, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel
from starlette.responses import Response

from prefect_sora.errors import RejectedError
from prefect_sora.servers.profiles import GENERIC
from prefect_sora.servers.protocol import transport
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import remote
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from tests.support.processes import Forked
from tests.support.renderer import StartRenderer
from tests.support.renders import clip, go
from tests.support.scripted import QUICK, Jobs, Reply, Script

FORMS = QUICK.model_copy(update={"form_only": True})


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """Ports come again: what is known of one address is of this test alone."""
    yield
    transport._reads_forms.clear()


class Stranger:
    """A FastAPI application, as others write them, with nothing but creates."""

    def __init__(self) -> None:
        self.app, self.asked, self.jobs = FastAPI(), list[str](), list[dict[str, Any]]()

        @self.app.middleware("http")
        async def seen(request: Request, go_on: Any) -> Response:
            self.asked.append(request.headers["content-type"].partition(";")[0])
            answer: Response = await go_on(request)
            return answer

    def accept(self, **fields: Any) -> dict[str, Any]:
        job = {"id": f"video_{len(self.jobs) + 1}", "status": "queued", **fields}
        self.jobs.append(job)
        return job


Make = Callable[[Stranger], None]


def forms_alone(stranger: Stranger) -> None:
    @stranger.app.post("/v1/videos")
    async def create(
        prompt: Annotated[str, Form()], seconds: Annotated[str, Form()] = "4"
    ) -> dict[str, Any]:
        return stranger.accept(prompt=prompt, seconds=seconds)


def forms_and_errors_as_vllm(stranger: Stranger) -> None:
    forms_alone(stranger)

    @stranger.app.exception_handler(RequestValidationError)
    async def wrong(request: Request, error: RequestValidationError) -> Response:
        told = {"message": f"{error} {error.errors()}", "type": "Bad Request", "code": 400}
        return JSONResponse({"error": told}, 400)


def json_alone(stranger: Stranger) -> None:
    class Order(BaseModel):
        prompt: str
        seconds: str = "4"

    @stranger.app.post("/v1/videos")
    async def create(order: Order) -> dict[str, Any]:
        return stranger.accept(**order.model_dump())


def forms_by_media_type(stranger: Stranger) -> None:
    @stranger.app.post("/v1/videos", response_model=None)
    async def create(request: Request) -> Any:
        if not request.headers["content-type"].startswith("multipart/"):
            return PlainTextResponse("Unsupported Media Type", 415)
        form = await request.form()
        return stranger.accept(prompt=form["prompt"], seconds=form["seconds"])


@pytest.fixture
def served() -> Iterator[Callable[[FastAPI], str]]:
    """Serve applications over HTTP, and end them."""
    running: list[tuple[uvicorn.Server, Thread]] = []

    def serve(app: FastAPI) -> str:
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{listening.getsockname()[1]}/v1"

    yield serve
    for server, thread in running:
        server.should_exit = True
        thread.join(10)


@pytest.mark.parametrize(
    ("make", "profile", "first"),
    [
        (forms_alone, QUICK, "application/json"),
        (forms_and_errors_as_vllm, QUICK, "application/json"),
        (forms_by_media_type, QUICK, "application/json"),
        (json_alone, FORMS, "multipart/form-data"),
    ],
)
async def test_a_create_refused_unread_is_sent_once_in_the_other_encoding_and_so_from_then_on(
    served: Callable[[FastAPI], str], disk: Ledger, make: Make, profile: Any, first: str
) -> None:
    stranger = Stranger()
    make(stranger)
    base_url = served(stranger.app)
    for scope in ("tonight", "tomorrow"):
        client = VideoClient(remote(base_url, profile=profile))  # each as another worker has it
        job = await go(client, disk, clip(seconds=2), scope=scope)
        await client.close()
        assert job.video_id == stranger.jobs[-1]["id"]
    other = ({"application/json", "multipart/form-data"} - {first}).pop()
    assert stranger.asked == [first, other, other]
    assert [(one["prompt"], one["seconds"]) for one in stranger.jobs] == [("a kite", "2")] * 2


async def test_a_server_of_forms_that_is_taken_for_a_generic_one_renders(
    start_renderer: StartRenderer, disk: Ledger
) -> None:
    renderer = start_renderer(dialect="vllm-omni")
    client = VideoClient(remote(renderer.base_url, profile=GENERIC))
    asked = clip(model=None)
    first = await go(client, disk, asked)
    second = await go(client, disk, asked, scope="tomorrow")
    await client.close()
    assert first.video_id != second.video_id
    assert [one["status"] for one in renderer.requests() if one["method"] == "POST"] == [
        400,
        200,
        200,
    ]


MISSING = {"detail": [{"type": "missing", "loc": ["body", "prompt"], "msg": "Field required"}]}


def _missing(*place: str) -> dict[str, Any]:
    return {"detail": [{"type": "missing", "loc": place, "msg": "Field required"}]}


def _said(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "code": None}}


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (422, {}, _missing("body", "workflow")),
        (422, {}, _missing("query", "prompt")),
        (422, {}, {"detail": [{"type": "int_parsing", "loc": ["body", "seconds"], "msg": "no"}]}),
        (422, {}, {"detail": "prompt is required"} | {"title": "Bad Request"}),
        (400, {}, _said("Missing required parameter: 'workflow'.")),
        (400, {}, _said("Your prompt was rejected: a required check has failed.")),
        (400, {}, _said("The upstream server says: prompt is required")),
        (400, {}, {"message": "prompt is required"}),
        (404, {}, MISSING),
        (500, {}, MISSING),
        (415, {"content-type": "text/html"}, b"<html>Unsupported Media Type</html>"),
    ],
    ids=[
        "a field that was not sent",
        "a field of the query",
        "a value",
        "a gateway's problem",
        "a parameter that was not sent",
        "a verdict on the prompt",
        "the word of a server behind it",
        "a gateway's message",
        "another status",
        "a failure",
        "a page",
    ],
)
async def test_what_is_not_refused_for_its_encoding_is_not_sent_again(
    scripted: Script, status: int, headers: dict[str, str], body: Any
) -> None:
    server, client = scripted(lambda *_: (status, headers, body))
    with pytest.raises(Exception, match=str(status)):
        await client.submit(clip(), None, "key")
    assert server.posts() == 1


async def test_where_both_are_refused_the_first_refusal_is_told(scripted: Script) -> None:
    said = iter(["Missing required parameter: 'prompt'.", "'prompt' is a required property"])
    server, client = scripted(lambda *_: (400, {}, _said(next(said))))
    with pytest.raises(RejectedError, match="Missing required parameter"):
        await client.submit(clip(), None, "key")
    assert server.posts() == 2


class FormJobs(Jobs):
    """A server that reads forms alone, and lists its jobs; it waits before it refuses JSON."""

    def __init__(self, lose: int) -> None:
        super().__init__(lose=lose)
        self.refused, self.go_on = Event(), Event()

    def __call__(self, method: str, path: str, body: bytes) -> Reply:
        if method == "POST" and body.startswith(b"{"):
            self.refused.set()
            self.go_on.wait(20)
            return 422, {}, MISSING
        if method == "POST":
            body = json.dumps({"prompt": "a kite", "size": "64x64", "seconds": "1"}).encode()
        return super().__call__(method, path, body)


async def test_an_answer_lost_in_the_other_encoding_is_found_and_not_paid_for_again(
    scripted: Script, disk: Ledger
) -> None:
    jobs = FormJobs(lose=1)
    jobs.go_on.set()
    server, client = scripted(jobs)
    job = await go(client, disk)
    assert (job.video_id, len(jobs.jobs), job.adopted) == (jobs.jobs[0]["id"], 1, True)
    assert server.posts() == 2


WORKER = """
import asyncio, sys
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import remote
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from tests.support.renders import go
from tests.support.scripted import QUICK

async def work():
    await go(VideoClient(remote(sys.argv[1], profile=QUICK)), Ledger(VideoFolder(sys.argv[2])))

asyncio.run(work())
"""


async def test_a_worker_that_dies_between_the_two_leaves_a_render_that_is_paid_for_once(
    scripted: Script, tmp_path: Path
) -> None:
    jobs = FormJobs(lose=0)
    server, client = scripted(jobs)
    worker = Forked(["-c", WORKER, server.base_url, tmp_path])
    assert jobs.refused.wait(20)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait(20)
    jobs.go_on.set()
    begun = time()
    job = await go(client, Ledger(VideoFolder(str(tmp_path))))
    assert (job.video_id, len(jobs.jobs)) == (jobs.jobs[0]["id"], 1)
    assert job.submitted_at >= int(begun)
    assert job.attempt == 2
