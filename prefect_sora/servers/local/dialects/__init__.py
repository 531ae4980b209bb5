"""Dialects: one small module for each kind of server that the renderer can behave like.

Jobs, workers, faults, gate and files are the same under all of them. A dialect names the routes,
reads a create, and writes jobs, errors, lists, deletions and files as that server does.
Each module names the sources that its facts come from.
"""

from importlib import import_module
from typing import Final

from prefect_sora.servers.local.dialects.openai import Dialect
from prefect_sora.servers.local.launch.options import RendererOptions

__all__ = ["Dialect", "dialect_of"]

_CLASSES: Final = {
    "openai": "openai.Dialect",
    "azure": "azure.Azure",
    "sglang": "sglang.SGLang",
    "vllm-omni": "vllm_omni.VllmOmni",
    "fastvideo": "fastvideo.FastVideo",
    "tensorrt-llm": "tensorrt_llm.TensorRT",
    "litellm": "litellm.LiteLLM",
    "new-api": "new_api.NewApi",
    "openrouter": "hosted.openrouter.OpenRouter",
    "together": "hosted.together.Together",
    "xai": "hosted.xai.XAI",
    "bifrost": "hosted.bifrost.Bifrost",
}


def dialect_of(options: RendererOptions) -> Dialect:
    """The dialect that the options name; `RendererOptions` knows which there are."""
    module, _, name = _CLASSES[options.dialect].rpartition(".")
    made: Dialect = getattr(import_module(f"{__name__}.{module}"), name)(options)
    return made
