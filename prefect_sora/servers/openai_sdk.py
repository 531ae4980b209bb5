"""OpenAI's SDK, imported for the first request: importing it takes as long as importing Prefect."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openai import APIError as APIError
    from openai import APIStatusError as APIStatusError
    from openai import AsyncOpenAI as AsyncOpenAI
    from openai import AuthenticationError as AuthenticationError
    from openai import NotFoundError as NotFoundError
    from openai import omit as omit


def __getattr__(name: str) -> Any:
    return getattr(import_module("openai"), name)
