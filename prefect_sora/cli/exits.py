"""Exit codes: what a script can tell about how a command ended."""

from signal import SIGINT
from typing import Final

from prefect_sora.cli.signals import InterruptedBySignal
from prefect_sora.errors import (
    ApiError,
    AuthenticationError,
    BatchError,
    BudgetExceededError,
    DownloadError,
    InvalidRequestError,
    ModerationError,
    QuotaError,
    RenderTimeoutError,
    StorageError,
    UncertainSubmitError,
    UnfinishedRenderError,
)

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
UNDECIDED: Final = 5
SIGNALLED: Final = 128
"""Plus the signal's number, as shells do."""

# Of an error's classes in this table, the most specific one decides.
_BY_ERROR: Final[dict[type[BaseException], int]] = {
    InvalidRequestError: USAGE,
    AuthenticationError: 3,
    QuotaError: 3,
    BudgetExceededError: 3,
    ModerationError: 4,
    UnfinishedRenderError: UNDECIDED,
    UncertainSubmitError: UNDECIDED,
    RenderTimeoutError: 6,
    ApiError: 7,
    DownloadError: 8,
    StorageError: 8,
}

MEANINGS: Final = {
    "0": "all is well",
    "1": "no video came of it, or another error; of `doctor`: a check failed",
    "2": "bad usage or an invalid request: this command sent and paid nothing",
    "3": "authentication, quota or budget",
    "4": "moderation",
    "5": "an unfinished render, or one in doubt: a person decides",
    "6": "timeout: it is still rendering",
    "7": "the video server is unavailable, or refused",
    "8": "download or storage: what was begun can be resumed",
    "130, 143": "stopped by Ctrl-C or SIGTERM: what was sent is still rendering",
}

EPILOGUE: Final = "\n".join(
    ["Exit codes:", *(f"  {code:<8}  {text}" for code, text in MEANINGS.items())]
)


def exit_code(error: BaseException) -> int:
    """The exit code of an error, by its type."""
    if isinstance(error, InterruptedBySignal):
        return SIGNALLED + error.signum
    if isinstance(error, KeyboardInterrupt):
        return SIGNALLED + SIGINT
    if isinstance(error, BatchError):
        result = error.result
        late = result.unfinished and result.unfinished == result.failed and not result.not_started
        return _BY_ERROR[RenderTimeoutError] if late else FAILED
    return next((_BY_ERROR[cls] for cls in type(error).__mro__ if cls in _BY_ERROR), FAILED)
