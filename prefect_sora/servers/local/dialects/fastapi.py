"""FastAPI: errors and fields as servers that are built on it write and read them.

The shapes are FastAPI's (0.139): a form field or a query of the wrong type is 422 with a list of
problems under `detail`; anything that a server raises itself is a text there.
"""

import json
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from prefect_sora.servers.local.dialects.openai import Dialect
from prefect_sora.servers.local.requests.fields import Fields
from prefect_sora.servers.local.requests.refusals import Refusal

_Model = TypeVar("_Model", bound=BaseModel)


class FastApiDialect(Dialect):
    """A server that answers with `detail`, and forgets its jobs when it ends.

    These servers have no keys of their own. Where the options name one it is demanded, as by a
    proxy in front of them.
    """

    durable: ClassVar = False
    advises_polling: ClassVar = False
    answers_head: ClassVar = False

    def authenticate(self, request: Request) -> None:
        """As a proxy in front of the server would.

        Raises:
            Refusal: There is a key, and it was not sent.
        """
        try:
            super().authenticate(request)
        except Refusal:
            raise detail(401, "Unauthorized") from None

    async def fields(self, request: Request) -> Fields:
        """Read the fields as they were sent: a form's are texts, and a torn body has none."""
        seen = getattr(request.state, "fields", None)
        if isinstance(seen, Fields):
            return seen
        request.state.fields = found = await _fields(request)
        return found

    def invalid(self, error: ValidationError, place: str) -> Refusal:
        """What is wrong in the `body` or the `query`: 422, with FastAPI's list."""
        listed = json.loads(json.dumps(problems(error, place), default=str))
        return Refusal(422, "invalid", body={"detail": listed})

    def form(self, fields: Fields, model: type[_Model]) -> _Model:
        """A form as the model types it: with a prompt, and no text where a file belongs.

        Raises:
            Refusal: 422 for a field of the wrong type, 400 without a prompt.
        """
        try:
            form = model.model_validate(filled(fields))
        except ValidationError as error:
            raise self.invalid(error, "body") from None
        text = fields.values.get("input_reference")
        if text:
            message = "Value error, Expected UploadFile, received: <class 'str'>"
            place = ["body", "input_reference"]
            one = {"type": "value_error", "loc": place, "msg": message, "input": text}
            raise Refusal(422, message, body={"detail": [{**one, "ctx": {"error": {}}}]})
        if not fields.values.get("prompt"):
            raise detail(400, "prompt is required")
        return form

    def missing(self, video_id: str, request: Request) -> Refusal:
        """No such video."""
        return detail(404, "Video not found")

    def refuse(self, refusal: Refusal, request: Request) -> Response:
        """A text under `detail`, or the body that was made for it; a plain 500 has neither."""
        if refusal.body is None and refusal.status == 500:
            return PlainTextResponse("Internal Server Error", 500)
        body = {"detail": refusal.message} if refusal.body is None else refusal.body
        return JSONResponse(body, refusal.status, headers=refusal.headers)

    def unrouted(self, request: Request, status: int) -> Response:
        """FastAPI's own words."""
        return no_route(status)

    def add_headers(self, request: Request, response: Response) -> None:
        """All of these servers run under uvicorn, which names itself."""
        response.headers["server"] = "uvicorn"


async def _fields(request: Request) -> Fields:
    if not is_form(request):
        try:
            body = await request.json()
        except (ValueError, RecursionError):
            body = None
        if body and not isinstance(body, dict):
            raise Refusal(500, "The body is no JSON object.")
        return Fields(body or {})
    values: dict[str, Any] = {}
    files: dict[str, tuple[bytes, ...]] = {}
    try:
        async with request.form() as form:
            for name, value in form.multi_items():
                if isinstance(value, str):
                    values[name] = value
                else:
                    files[name] = (*files.get(name, ()), await value.read())
    except HTTPException as error:
        raise detail(400, error.detail) from None
    return Fields(values, files, is_form=True)


def no_route(status: int) -> Response:
    """FastAPI's answer to a path (404) or a method (405) that it does not know."""
    words = {404: "Not Found", 405: "Method Not Allowed"}.get(status, "Internal Server Error")
    return JSONResponse({"detail": words}, status)


def is_form(request: Request) -> bool:
    """Whether the body is a multipart form."""
    return "multipart/form-data" in request.headers.get("content-type", "").lower()


def detail(status: int, text: str) -> Refusal:
    """An error that is a text under `detail`."""
    return Refusal(status, text, body={"detail": text})


def problems(error: ValidationError, place: str) -> list[dict[str, Any]]:
    """FastAPI's list of what is wrong in the `body` or the `query`."""
    found = error.errors(include_url=False)
    return [{**one, "loc": (place, *one["loc"])} for one in found]


def filled(fields: Fields) -> dict[str, Any]:
    """The fields of a form that are not empty: FastAPI takes those for missing."""
    return {name: text for name, text in fields.values.items() if text != ""}


def read_json(payload: object, model: type[_Model]) -> _Model:
    """A body that the server's own code validates.

    Raises:
        Refusal: 400, with pydantic's text.
    """
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        raise detail(400, f"Invalid request body: {error}") from None
