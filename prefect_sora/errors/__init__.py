"""Every error says which render it is about, whether it was paid, and what to do next.

```text
SoraError
├─ InvalidRequestError (ValueError)     it cannot be rendered; nothing was paid
│  ├─ RetiredModelError                 its own service has ended it
│  ├─ PromptTemplateError               no such template, or it makes no prompt
│  └─ ReferenceImageError               missing, unreadable, too large, wrong size
├─ BudgetExceededError  .budget_usd     nothing sent
├─ UnfinishedRenderError                a render of the same request waits in the store
├─ ApiError  .status .code .request_id  the server answered with an error
│  ├─ AuthenticationError               401, 403
│  ├─ QuotaError                        402, 429 and kin that waiting does not cure
│  ├─ RejectedError (400 and kin)       ModerationError below it
│  ├─ VideoNotFoundError                404: unknown or forgotten
│  ├─ RateLimitError *  .retry_after_s
│  └─ UnavailableError *                no connection, 5xx, not a video server
├─ UncertainSubmitError                 sent, no answer, not found: a person decides
├─ RenderFailedError  .code             the job ended without a video
│  └─ ModerationError                   by moderation, at once or later
├─ NotAsAskedError  .video              kept, but of another size or length; strict=True
├─ RenderTimeoutError (TimeoutError)    our deadline passed; the job may still finish
│  └─ RenderStalledError                nothing moved for too long
├─ DownloadError *                      VideoExpiredError (never), CorruptVideoError *
├─ BatchError  .result                  some rows made no video, the others are kept
├─ StoryboardError  .failures           some shots have no video; the others are kept
├─ JoinError                            two clips cannot be made one film; both are kept
└─ StorageError *                       the store refused
   ├─ NewerStoreError                   a later version of this package wrote there
   └─ ForeignRecordError (ValueError)   it names another render, or a place outside of the store
                                        * retryable
```
"""

from typing import Any, Final

from prefect_sora.errors.base import Paid as Paid
from prefect_sora.errors.base import SoraError as SoraError
from prefect_sora.errors.base import _rebuild as _rebuild  # states that were pickled name it here
from prefect_sora.errors.next_steps import PUT_IT_BACK

_BY_MODERATION: Final = "Refused by moderation"


class InvalidRequestError(SoraError, ValueError):
    """The request cannot be rendered as it stands; nothing was sent."""


class RetiredModelError(InvalidRequestError):
    """The model's own service has ended it, as the catalogue or the server says."""


class PromptTemplateError(InvalidRequestError):
    """The prompt's template is missing, has an error, or makes no prompt."""


class ReferenceImageError(InvalidRequestError):
    """The reference image is missing, unreadable, too large or of the wrong size."""


class BudgetExceededError(SoraError):
    """A budget does not allow the render; nothing was sent.

    Attributes:
        budget_usd: The budget, in USD.
        spent_usd: What of it is spent.
        asked_usd: What was asked for.
    """

    def __init__(
        self, message: str, *, budget_usd: float, spent_usd: float, asked_usd: float, **about: Any
    ) -> None:
        super().__init__(message, **about)
        self.budget_usd, self.spent_usd, self.asked_usd = budget_usd, spent_usd, asked_usd


class UnfinishedRenderError(SoraError):
    """The store holds an unfinished render of the same request."""


class ApiError(SoraError):
    """The video server answered with an error.

    Attributes:
        status: HTTP status, or None where no answer came.
        code: The server's own error code.
        request_id: The server's `x-request-id`, for its support.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        **about: Any,
    ) -> None:
        super().__init__(message, **about)
        self.status, self.code, self.request_id = status, code, request_id


class AuthenticationError(ApiError):
    """The key is wrong, or may not do this."""


class QuotaError(ApiError):
    """The account's quota or credit is used up: waiting does not help."""


class RejectedError(ApiError):
    """The server refused the request as it stands."""


class VideoNotFoundError(ApiError):
    """The server knows no such video: a wrong id, or one that it has forgotten."""


class RateLimitError(ApiError):
    """Too many requests or running jobs: wait, then try again."""

    retryable = True

    def __init__(self, message: str, *, retry_after_s: float | None = None, **about: Any) -> None:
        super().__init__(message, **about)
        self.retry_after_s = retry_after_s


class UnavailableError(ApiError):
    """No connection, a server error, or an answer that is not the video protocol.

    Attributes:
        never_sent: The connection was never made, so nothing can have been accepted.
        ended: The server itself, and no gateway before it, said that it has failed for good.
        retry_after_s: Seconds the server asked to wait.
    """

    retryable = True
    ended = False

    def __init__(
        self,
        message: str,
        *,
        never_sent: bool = False,
        ended: bool = False,
        retry_after_s: float | None = None,
        **about: Any,
    ) -> None:
        super().__init__(message, **about)
        self.never_sent, self.ended, self.retry_after_s = never_sent, ended, retry_after_s


class UncertainSubmitError(SoraError):
    """The create request may have been accepted, and the server cannot tell."""


class RenderFailedError(SoraError):
    """The job ended without a video.

    Attributes:
        code: The server's own error code.
        actual_usd: What the server says that it cost all the same; None where it does not say.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        actual_usd: float | None = None,
        **about: Any,
    ) -> None:
        super().__init__(message, **about)
        self.code, self.actual_usd = code, actual_usd


class ModerationError(RenderFailedError):
    """Moderation refused the prompt, the reference or the result: docs/guardrails.md."""

    def __init__(self, message: str, *, code: str | None = None, **about: Any) -> None:
        if not message.startswith(_BY_MODERATION):  # as one does that was recorded
            message = f"{_BY_MODERATION}{f' ({code})' if code else ''}: {message}"
        super().__init__(message, code=code, **about)


class NotAsAskedError(SoraError):
    """A kept clip has another size or length than was asked for, and `strict` refuses that.

    Attributes:
        video: The clip, as it is kept.
    """

    def __init__(self, message: str, *, video: Any, **about: Any) -> None:
        super().__init__(message, **about)
        self.video = video


class RenderTimeoutError(SoraError, TimeoutError):
    """Our deadline passed; the job may still finish and stays resumable."""


class RenderStalledError(RenderTimeoutError):
    """Neither status nor progress moved for too long; the job stays resumable."""


class DownloadError(SoraError):
    """The finished video could not be fetched; the server still has it."""

    retryable = True


class VideoExpiredError(DownloadError):
    """The server no longer has the video."""

    retryable = False


class CorruptVideoError(DownloadError):
    """What arrived is not the whole video."""


class BatchError(SoraError):
    """Some rows of a batch made no video; the others are kept.

    Attributes:
        result: The `BatchResult`, with where all rows are told.
    """

    def __init__(self, message: str, *, result: Any, **about: Any) -> None:
        super().__init__(message, **about)
        self.result = result


class StoryboardError(SoraError):
    """Some shots have no video, so that there is no film yet; the others are kept.

    Attributes:
        failures: What went wrong, by the shot's number.
        waiting: Numbers of the shots that were not begun, because they wait for a failed one.
    """

    def __init__(
        self, message: str, *, failures: Any = (), waiting: Any = (), **about: Any
    ) -> None:
        super().__init__(message, **about)
        self.failures: dict[int, SoraError] = dict(failures)
        self.waiting: tuple[int, ...] = tuple(waiting)


class JoinError(SoraError):
    """Clips cannot be joined into one film; each of them is kept."""


class StorageError(SoraError):
    """The store refused to read or write."""

    retryable = True


class NewerStoreError(StorageError):
    """A later version of this package wrote a record that this one may misread."""

    retryable = False


class ForeignRecordError(StorageError, ValueError):
    """A record names another render than the one that it lies with, or a place outside its store.

    Nobody writes one so: it was changed, or brought there, by hand. Nothing was sent.
    """

    retryable = False

    def __init__(self, message: str, *, next_step: Any = PUT_IT_BACK, **about: Any) -> None:
        super().__init__(message, next_step=next_step, **about)
