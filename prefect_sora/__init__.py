"""Durable AI video for Prefect: a render is paid for once and kept forever.

Names are imported when they are first used, so that importing the package, or
its local renderer, costs nothing of what it does not need.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect_sora.blocks import (
        AzureOpenAICredentials,
        LocalRenderer,
        OpenAICredentials,
        VideoStore,
    )
    from prefect_sora.errors import (
        ApiError,
        AuthenticationError,
        CorruptVideoError,
        DownloadError,
        InvalidRequestError,
        JoinError,
        ModerationError,
        NewerStoreError,
        PromptTemplateError,
        QuotaError,
        RateLimitError,
        ReferenceImageError,
        RejectedError,
        RenderFailedError,
        RenderStalledError,
        RenderTimeoutError,
        RetiredModelError,
        SoraError,
        StorageError,
        UnavailableError,
        UncertainSubmitError,
        UnfinishedRenderError,
        VideoExpiredError,
        VideoNotFoundError,
    )
    from prefect_sora.flows import image_to_video, remix_chain, sweep, text_to_video
    from prefect_sora.handles import RenderedVideo, StoredVideo, VideoJob
    from prefect_sora.requests import VideoRequest
    from prefect_sora.shots import ShotPrompt
    from prefect_sora.tasks import (
        download_video,
        persist_video,
        remix_video,
        submit_video,
        wait_for_video,
    )

__version__ = "0.1.0"

_HOME = {
    "blocks": ("AzureOpenAICredentials", "LocalRenderer", "OpenAICredentials", "VideoStore"),
    "errors": (
        "ApiError",
        "AuthenticationError",
        "CorruptVideoError",
        "DownloadError",
        "InvalidRequestError",
        "JoinError",
        "ModerationError",
        "NewerStoreError",
        "PromptTemplateError",
        "QuotaError",
        "RateLimitError",
        "ReferenceImageError",
        "RejectedError",
        "RenderFailedError",
        "RenderStalledError",
        "RenderTimeoutError",
        "RetiredModelError",
        "SoraError",
        "StorageError",
        "UnavailableError",
        "UncertainSubmitError",
        "UnfinishedRenderError",
        "VideoExpiredError",
        "VideoNotFoundError",
    ),
    "flows": ("image_to_video", "remix_chain", "sweep", "text_to_video"),
    "handles": ("RenderedVideo", "StoredVideo", "VideoJob"),
    "requests": ("VideoRequest",),
    "shots": ("ShotPrompt",),
    "tasks": (
        "download_video",
        "persist_video",
        "remix_video",
        "submit_video",
        "wait_for_video",
    ),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "ApiError",
    "AuthenticationError",
    "AzureOpenAICredentials",
    "CorruptVideoError",
    "DownloadError",
    "InvalidRequestError",
    "JoinError",
    "LocalRenderer",
    "ModerationError",
    "NewerStoreError",
    "OpenAICredentials",
    "PromptTemplateError",
    "QuotaError",
    "RateLimitError",
    "ReferenceImageError",
    "RejectedError",
    "RenderFailedError",
    "RenderStalledError",
    "RenderTimeoutError",
    "RenderedVideo",
    "RetiredModelError",
    "ShotPrompt",
    "SoraError",
    "StorageError",
    "StoredVideo",
    "UnavailableError",
    "UncertainSubmitError",
    "UnfinishedRenderError",
    "VideoExpiredError",
    "VideoJob",
    "VideoNotFoundError",
    "VideoRequest",
    "VideoStore",
    "__version__",
    "download_video",
    "image_to_video",
    "persist_video",
    "remix_chain",
    "remix_video",
    "submit_video",
    "sweep",
    "text_to_video",
    "wait_for_video",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
