"""Flows: what users call, deploy and schedule; as flows, as subflows or in a script.

Each pays for a render once per root flow run, through retries, resumes and
reruns of that run; `scope` shares renders between runs, `take` separates repeats.
"""

from prefect_sora.flows.batch import render_batch
from prefect_sora.flows.chains import edit_chain, extend_chain, remix_chain
from prefect_sora.flows.image import keyframe_to_video, text_to_image
from prefect_sora.flows.storyboards import storyboard
from prefect_sora.flows.upkeep import clean_up, sweep
from prefect_sora.flows.video import image_to_video, text_to_video

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
