"""Calling: our flows and tasks, as async code, sync flows and plain scripts call them.

In async code a call is awaited. In a sync flow or task it runs to its end, inside of that run, and
gives the result, as the calls of Prefect's own library do. Anywhere else it is a coroutine for
`asyncio.run`; one that is used as if it were the result says so.
"""

import asyncio
import inspect
import warnings
from collections.abc import Coroutine, Generator
from functools import partial
from typing import TYPE_CHECKING, Any

from prefect import Flow, Task
from prefect.context import FlowRunContext, TaskRunContext

if TYPE_CHECKING:
    from prefect import flow as flow
    from prefect import task as task
else:

    class _Flow(Flow):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return _in_its_place(super().__call__(*args, **kwargs), self.fn.__name__)

        def with_options(self, **options: Any) -> Flow:
            return _like(self, super().with_options(**options))

    class _Task(Task):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
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
