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
    "openai": "Dialect",
    "azure": "Azure",
    "sglang": "SGLang",
    "vllm-omni": "VllmOmni",
    "fastvideo": "FastVideo",
    "tensorrt-llm": "TensorRT",
    "litellm": "LiteLLM",
    "new-api": "NewApi",
}


def dialect_of(options: RendererOptions) -> Dialect:
    """The dialect that the options name; `RendererOptions` knows which there are."""
    module = import_module(f"{__name__}.{options.dialect.replace('-', '_')}")
    made: Dialect = getattr(module, _CLASSES[options.dialect])(options)
    return made
