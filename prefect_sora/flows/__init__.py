"""Flows: what users call, deploy and schedule; as flows, as subflows or in a script.

Each pays for a render once per root flow run, through retries, resumes and
reruns of that run; `scope` shares renders between runs, `take` separates repeats.
A flow is imported when it is first used: its form takes as long to make as all else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from prefect_sora.flows.batch import render_batch
    from prefect_sora.flows.chains import edit_chain, extend_chain, remix_chain
    from prefect_sora.flows.image import keyframe_to_video, text_to_image
    from prefect_sora.flows.storyboards import storyboard
    from prefect_sora.flows.upkeep import clean_up, sweep
    from prefect_sora.flows.video import image_to_video, text_to_video

_MODULE_OF: Final = {
    "clean_up": "upkeep",
    "edit_chain": "chains",
    "extend_chain": "chains",
    "image_to_video": "video",
    "keyframe_to_video": "image",
    "remix_chain": "chains",
    "render_batch": "batch",
    "storyboard": "storyboards",
    "sweep": "upkeep",
    "text_to_image": "image",
    "text_to_video": "video",
}

__all__ = [
    "clean_up",
    "edit_chain",
    "extend_chain",
    "image_to_video",
    "keyframe_to_video",
    "remix_chain",
    "render_batch",
    "storyboard",
    "sweep",
    "text_to_image",
    "text_to_video",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
