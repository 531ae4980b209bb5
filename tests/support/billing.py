"""A server that finishes at once, and says what each job cost."""

from functools import cache
from typing import Any, Final

from tests.support.bare_server import a_clip
from tests.support.scripted import QUICK, Jobs, Reply

TOLD: Final[dict[str, Any]] = {
    "cost_path": "usage.cost",
    "cost_elsewhere_path": "usage.byok",
}
"""Where it says so, in a profile's words."""

BILLED: Final = QUICK.model_copy(update=TOLD)


class Billing(Jobs):
    """Its jobs are finished when they are asked for; the file of each is one second of 64x64.

    Args:
        cost: What each of them says in `usage.cost`; None: nothing.
        status: How they end.
        usage: What stands beside it.
    """

    def __init__(self, cost: object, status: str = "completed", **usage: object) -> None:
        super().__init__(lose=0)
        self.cost, self.status, self.usage = cost, status, usage

    def __call__(self, method: str, path: str, body: bytes) -> Reply:
        """Answer as `Jobs` does, and with a file."""
        if path.endswith("/content"):
            return 200, {"Content-Type": "video/mp4"}, _clip()
        answer = super().__call__(method, path, body)
        if answer and method == "GET" and "/v1/videos/" in path and answer[0] == 200:
            said = {**({} if self.cost is None else {"cost": self.cost}), **self.usage}
            return (*answer[:2], {**answer[2], "status": self.status, "usage": said})
        return answer


@cache
def _clip() -> bytes:
    return a_clip("teal")
