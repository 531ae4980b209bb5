"""What vLLM-Omni reads of a create's form, and the limits that it looks at after that.

Source: vllm-omni 0.30.0, `vllm_omni/entrypoints/openai/video/generation/helpers.py` (the form) and
`protocol/videos.py` (the limits). Left out: masks, sources and references of a few models alone.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints


class VideoForm(BaseModel):
    """The form; fields that are not here are not read."""

    prompt: str
    image_reference: str | None = None
    model: str | None = None
    seconds: Annotated[str, StringConstraints(pattern=r"^[1-9]\d*$")] | None = None
    size: Annotated[str, StringConstraints(pattern=r"^\d+x\d+$")] | None = None
    user: str | None = None
    width: int | None = None
    height: int | None = None
    num_frames: int | None = None
    fps: float | None = Field(None, ge=1, allow_inf_nan=False)
    num_outputs_per_prompt: int = Field(1, ge=1, le=10)
    quality: str | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    guidance_scale_2: float | None = None
    boundary_ratio: float | None = None
    flow_shift: float | None = None
    true_cfg_scale: float | None = None
    seed: int | None = None
    generate_sound: bool | None = None
    sound_duration: float | None = Field(None, gt=0)
    negative_prompt: str | None = None
    lora: str | None = None
    extra_params: str | None = None


class _Url(BaseModel):
    model_config = ConfigDict(extra="forbid")
    image_url: str


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    file_id: str


class VideoGenerationRequest(BaseModel):
    """The limits that are looked at after the form; its name stands in the server's errors."""

    image_reference: _Url | _File | list[_Url | _File] | None = None
    width: int | None = Field(None, ge=1)
    height: int | None = Field(None, ge=1)
    num_frames: int | None = Field(None, ge=1)
    quality: Literal["lossless", "high"] | None = None
    num_inference_steps: int | None = Field(None, ge=1, le=200)
    guidance_scale: float | None = Field(None, ge=0, le=20)
    guidance_scale_2: float | None = Field(None, ge=0, le=20)
    boundary_ratio: float | None = Field(None, ge=0, le=1)
    true_cfg_scale: float | None = Field(None, ge=0, le=20)
