"""Dialects: one small module for each server whose accent the renderer can speak.

The renderer's engine (jobs, workers, faults, gate, files) is the same under all of them. A dialect
says which routes there are, reads a create, shows a job, an error, a list, a deletion and a file.
Each module names the sources that its facts come from.
"""

from importlib import import_module
from typing import Final

from prefect_sora.local.dialects.openai import Dialect
from prefect_sora.local.launch.options import RendererOptions

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
