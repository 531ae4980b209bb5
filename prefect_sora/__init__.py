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
        BatchError,
        BudgetExceededError,
        CorruptVideoError,
        DownloadError,
        ForeignRecordError,
        InvalidRequestError,
        JoinError,
        ModerationError,
        NewerStoreError,
        NotAsAskedError,
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
        StoryboardError,
        UnavailableError,
        UncertainSubmitError,
        UnfinishedRenderError,
        VideoExpiredError,
        VideoNotFoundError,
    )
    from prefect_sora.flows import (
        clean_up,
        edit_chain,
        extend_chain,
        image_to_video,
        keyframe_to_video,
        remix_chain,
        storyboard,
        sweep,
        text_to_image,
        text_to_video,
    )
    from prefect_sora.flows.batch import render_batch, render_video
    from prefect_sora.handles import (
        Character,
        RemoteVideo,
        RenderedVideo,
        StoredImage,
        StoredVideo,
        VideoJob,
    )
    from prefect_sora.renders.batches.results import BatchResult
    from prefect_sora.renders.film import CutList, StoredFilm
    from prefect_sora.renders.inventory.costs import StoreCosts, store_costs
    from prefect_sora.renders.inventory.entries import StoreAttempt, StoreEntry
    from prefect_sora.renders.inventory.inventory import iterate_store
    from prefect_sora.renders.inventory.model_information import (
        ModelInformation,
        model_information,
    )
    from prefect_sora.renders.recovery.webhooks.receiver import WebhookReceiver
    from prefect_sora.requests.image import ImageRequest
    from prefect_sora.requests.shots import ShotPrompt
    from prefect_sora.requests.storyboard import Shot, Storyboard
    from prefect_sora.requests.video import VideoRequest
    from prefect_sora.tasks.image import edit_image, generate_image
    from prefect_sora.tasks.remix import edit_video, extend_video, remix_video
    from prefect_sora.tasks.server_videos import (
        cancel_video,
        create_character,
        delete_video,
        iterate_videos,
        list_videos,
        retrieve_character,
        retrieve_video,
    )
    from prefect_sora.tasks.video import download_video, persist_video, submit_video, wait_for_video

__version__ = "0.1.0"

_HOME = {
    "renders.inventory.model_information": ("ModelInformation", "model_information"),
    "flows.batch": ("render_batch", "render_video"),
    "blocks": ("AzureOpenAICredentials", "LocalRenderer", "OpenAICredentials", "VideoStore"),
    "errors": (
        "ApiError",
        "AuthenticationError",
        "BatchError",
        "BudgetExceededError",
        "CorruptVideoError",
        "DownloadError",
        "ForeignRecordError",
        "InvalidRequestError",
        "JoinError",
        "ModerationError",
        "NewerStoreError",
        "NotAsAskedError",
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
        "StoryboardError",
        "UnavailableError",
        "UncertainSubmitError",
        "UnfinishedRenderError",
        "VideoExpiredError",
        "VideoNotFoundError",
    ),
    "renders.film": ("CutList", "StoredFilm"),
    "flows": (
        "clean_up",
        "edit_chain",
        "extend_chain",
        "image_to_video",
        "keyframe_to_video",
        "remix_chain",
        "storyboard",
        "sweep",
        "text_to_image",
        "text_to_video",
    ),
    "handles": (
        "Character",
        "RemoteVideo",
        "RenderedVideo",
        "StoredImage",
        "StoredVideo",
        "VideoJob",
    ),
    "tasks.image": ("edit_image", "generate_image"),
    "requests.image": ("ImageRequest",),
    "tasks.server_videos": (
        "cancel_video",
        "create_character",
        "delete_video",
        "iterate_videos",
        "list_videos",
        "retrieve_character",
        "retrieve_video",
    ),
    "requests.video": ("VideoRequest",),
    "renders.batches.results": ("BatchResult",),
    "renders.inventory.costs": ("StoreCosts", "store_costs"),
    "renders.inventory.entries": ("StoreAttempt", "StoreEntry"),
    "renders.inventory.inventory": ("iterate_store",),
    "renders.recovery.webhooks.receiver": ("WebhookReceiver",),
    "requests.shots": ("ShotPrompt",),
    "requests.storyboard": ("Shot", "Storyboard"),
    "tasks.video": (
        "download_video",
        "persist_video",
        "submit_video",
        "wait_for_video",
    ),
    "tasks.remix": ("edit_video", "extend_video", "remix_video"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "ApiError",
    "AuthenticationError",
    "AzureOpenAICredentials",
    "BatchError",
    "BatchResult",
    "BudgetExceededError",
    "Character",
    "CorruptVideoError",
    "CutList",
    "DownloadError",
    "ForeignRecordError",
    "ImageRequest",
    "InvalidRequestError",
    "JoinError",
    "LocalRenderer",
    "ModelInformation",
    "ModerationError",
    "NewerStoreError",
    "NotAsAskedError",
    "OpenAICredentials",
    "PromptTemplateError",
    "QuotaError",
    "RateLimitError",
    "ReferenceImageError",
    "RejectedError",
    "RemoteVideo",
    "RenderFailedError",
    "RenderStalledError",
    "RenderTimeoutError",
    "RenderedVideo",
    "RetiredModelError",
    "Shot",
    "ShotPrompt",
    "SoraError",
    "StorageError",
    "StoreAttempt",
    "StoreCosts",
    "StoreEntry",
    "StoredFilm",
    "StoredImage",
    "StoredVideo",
    "Storyboard",
    "StoryboardError",
    "UnavailableError",
    "UncertainSubmitError",
    "UnfinishedRenderError",
    "VideoExpiredError",
    "VideoJob",
    "VideoNotFoundError",
    "VideoRequest",
    "VideoStore",
    "WebhookReceiver",
    "__version__",
    "cancel_video",
    "clean_up",
    "create_character",
    "delete_video",
    "download_video",
    "edit_chain",
    "edit_image",
    "edit_video",
    "extend_chain",
    "extend_video",
    "generate_image",
    "image_to_video",
    "iterate_store",
    "iterate_videos",
    "keyframe_to_video",
    "list_videos",
    "model_information",
    "persist_video",
    "remix_chain",
    "remix_video",
    "render_batch",
    "render_video",
    "retrieve_character",
    "retrieve_video",
    "store_costs",
    "storyboard",
    "submit_video",
    "sweep",
    "text_to_image",
    "text_to_video",
    "wait_for_video",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
