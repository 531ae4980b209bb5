"""Base: what every error carries, and how it is told."""

from typing import Any, ClassVar, Literal, Self

from prefect_sora.errors.next_steps import Advice, Advised, Reader, in_words, steps_of

Paid = Literal["no", "yes", "unknown"]

_PAID = {
    "no": "Nothing was paid.",
    "yes": "The server accepted it, so it counts as paid.",
    "unknown": "Whether it was paid is not known.",
}

_ENDS = (".", "!", "?", "…", ":")


class SoraError(Advised, Exception):
    """Base of all errors of this package.

    Attributes:
        message: What went wrong, without the rest.
        video_id: The server's id of the job, where there is one.
        key: The render's key: 12 hex digits, as in its folder's name.
        paid: Whether the server accepted the render.
        steps: What can be done next, as data; `next_step` says it in words.
        free: Whether what renders it is known to cost nothing, as the local renderer does.
        retryable: Whether trying the same step again can help.
    """

    retryable: ClassVar[bool] = False
    free = False

    def __init__(
        self,
        message: str,
        *,
        video_id: str | None = None,
        key: str | None = None,
        paid: Paid = "no",
        next_step: Advice = None,
    ) -> None:
        super().__init__(message)
        self.message, self.video_id, self.key, self.paid = message, video_id, key, paid
        self.steps = steps_of(next_step, key)

    def about(
        self, *, key: str | None = None, video_id: str | None = None, paid: Paid | None = None
    ) -> Self:
        """Fill in what a lower layer could not know; what is set stays, except `paid`."""
        self.key, self.video_id = self.key or key, self.video_id or video_id
        self.paid = paid or self.paid
        return self.known(key=self.key)

    def told(self, reader: Reader | None = None, *, pays: bool = True) -> str:
        """One readable paragraph: what, about which render, paid or not, what next.

        Args:
            reader: Who reads it.
            pays: Whether what was done could have cost anything; else that nothing was paid goes
                without saying.
        """
        named = {"render": self.key, "video": self.video_id}
        about = ", ".join(f"{what} {name}" for what, name in named.items() if name)
        said = self.message if self.message.endswith(_ENDS) else f"{self.message}."
        if reader == "terminal":
            said = said.replace("max_cost_usd", "--max-cost")
        parts = (
            about and f"({about})",
            self._money(said, pays=pays),
            in_words(self.steps, reader),
        )
        rest = " ".join(filter(None, parts))
        between = "\n" if "\n" in said else " "  # what has lines of its own ends in one
        return f"{said}{between}{rest}".rstrip()

    def _money(self, said: str, *, pays: bool) -> str:
        """Say whether it was paid, where that is not said already."""
        if " as paid" in said or not (pays or self.paid == "yes"):
            return ""
        return "It is free (local)." if self.free and self.paid != "no" else _PAID[self.paid]

    def __str__(self) -> str:
        """Tell it to whoever called."""
        return self.told()

    def __repr__(self) -> str:
        """The same paragraph: Prefect shows a timeout, and each retry, by its repr."""
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive pickling, which Prefect does to a failed state's exception."""
        return (_rebuild, (type(self), self.message, self.__dict__.copy()))


def _rebuild(cls: type[SoraError], message: str, state: dict[str, Any]) -> SoraError:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    state.setdefault("steps", steps_of(state.pop("next_step", None)))  # pickled as a sentence once
    error.__dict__.update(state)
    return error
