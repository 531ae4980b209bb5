"""Calling: our flows and tasks, as async code, sync flows and plain scripts call them.

In async code a call is awaited. In a sync flow or task it runs to its end, inside of that run, and
gives the result, as the calls of Prefect's own library do. Anywhere else it is a coroutine for
`asyncio.run`; one that is used as if it were the result says so.
"""

import asyncio
import inspect
import warnings
from collections.abc import Callable, Coroutine, Generator, Mapping
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from prefect import Flow, Task
from prefect.context import FlowRunContext, TaskRunContext

from prefect_sora.errors import InvalidRequestError

if TYPE_CHECKING:
    from prefect import flow as flow
    from prefect import task as task
else:

    class _Flow(Flow):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            _refuse_unknown(self.fn, kwargs)
            return _in_its_place(super().__call__(*args, **kwargs), self.fn.__name__)

        def with_options(self, **options: Any) -> Flow:
            return _like(self, super().with_options(**options))

    class _Task(Task):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            _refuse_unknown(self.fn, kwargs)
            return _in_its_place(super().__call__(*args, **kwargs), self.fn.__name__)

        def with_options(self, **options: Any) -> Task:
            return _like(self, super().with_options(**options))

    def _like(ours: Any, made: Any) -> Any:
        made.__class__ = type(ours)  # Prefect makes one of its own class
        return made

    def flow(**options: Any) -> Any:
        """Make a flow, as Prefect's decorator does."""
        return partial(_Flow, **options)

    def task(**options: Any) -> Any:
        """Make a task, as Prefect's decorator does."""
        return partial(_Task, **options)


class Called(Coroutine[Any, Any, Any]):
    """A call that has not run yet: a coroutine that says what to do with it."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], name: str) -> None:
        self._coroutine, self._name, self._begun = coroutine, name, False

    def __await__(self) -> Generator[Any, Any, Any]:
        """Run it, where it is awaited."""
        self._begun = True
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        """Run it on to its next pause."""
        self._begun = True
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        """Raise an error where it pauses."""
        self._begun = True
        return self._coroutine.throw(*error)

    def close(self) -> None:
        """End it."""
        self._begun = True
        self._coroutine.close()

    def __getattr__(self, name: str) -> Any:
        """Say why it has no such attribute."""
        raise AttributeError(f"There is no {name!r} yet: {self._advice()}")

    def __repr__(self) -> str:
        """What it is, for whoever prints it or passes it on in place of its result."""
        return f"<{self._advice()}>"

    def __del__(self) -> None:
        """Warn of a call that nobody ran."""
        if not self._begun:
            self._coroutine.close()
            warnings.warn(self._advice(), RuntimeWarning, stacklevel=2)

    def _advice(self) -> str:
        call = f"{self._name}(…)"
        return (
            f"{call} has not run, and nothing was sent. In async code: await {call}. "
            f"In a script: asyncio.run({call})."
        )


_PREFECTS: Final = {"wait_for", "return_state"}
"""What Prefect itself takes of each call."""

_PICTURE: Final = {"image", "input_reference", "reference", "first_frame"}
"""What other clients call the picture that a video begins with."""

_CALLED: Final = {
    "duration": "seconds",
    "resolution": "size",
    "output": "store",
    "timeout": "timeout_seconds",
}
"""What other clients call what we take."""


def _refuse_unknown(function: Callable[..., Any], named: Mapping[str, Any]) -> None:
    """Refuse what a flow or task does not take, with the right name where there is one.

    Raises:
        InvalidRequestError: Nothing was sent.
    """
    taken = inspect.signature(function).parameters
    if any(each.kind is each.VAR_KEYWORD for each in taken.values()):
        return
    for name in named.keys() - taken.keys() - _PREFECTS:
        ours = "image" if name in _PICTURE else _CALLED.get(name)
        like = [ours] if ours in taken else get_close_matches(name, taken, 1)
        if like:
            advice = f"Call it {like[0]}."
        elif name in _PICTURE:
            advice = "image_to_video(prompt, image, …) begins with a picture."
        else:
            advice = f"It takes {', '.join(taken)}."
        raise InvalidRequestError(f"{function.__name__} takes no {name!r}.", next_step=advice)


def _in_its_place(called: Any, name: str) -> Any:
    if not inspect.iscoroutine(called):
        return called
    if _in_a_sync_run():
        return asyncio.run(called)  # in this thread's context, so as a part of the run
    return Called(called, name)


def _in_a_sync_run() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return bool(TaskRunContext.get() or FlowRunContext.get())
    return False
