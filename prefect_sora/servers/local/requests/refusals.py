"""Refusals: requests that are answered with an error."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse


class Refusal(Exception):  # noqa: N818 - an answer, not a failure of ours
    """A request is answered with an error: in its dialect's form, or with a body of its own.

    Attributes:
        status: HTTP's.
        message: For people.
        param: The field at fault.
        code: OpenAI's word for the error.
        headers: Added to the answer.
        body: The whole JSON body, where a dialect has made it already.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers = headers
        self.body = body

    def openai(self) -> dict[str, Any]:
        """The error in OpenAI's form."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": error}

    def response(self) -> JSONResponse:
        """The answer that goes out: in OpenAI's form, unless a body of its own was given."""
        body = self.openai() if self.body is None else self.body
        return JSONResponse(body, self.status, headers=self.headers)


def bad(param: str, reason: str, code: str = "invalid_value") -> Refusal:
    """Refuse a value, with its field's name and the reason."""
    return Refusal(400, f"Invalid '{param}': {reason}.", param=param, code=code)


def missing_parameter(param: str) -> Refusal:
    """Refuse a request that lacks a field."""
    message = f"Missing required parameter: '{param}'."
    return Refusal(400, message, param=param, code="missing_required_parameter")
