"""The own route files of SGLang and FastVideo over an engine that is a stand-in.

Their HTTP layer alone is imported, from an unpacked wheel; what it imports in turn, engines and
GPUs, are empty names. The engine here writes one small clip for each job, or fails as it is told
in the file `fault` of its folder: fail, moderate, or lose for an answer that is lost.

Run as a process: `python -m tests.contract.real_routes NAME WHEEL FOLDER`; it prints its address.
"""

import asyncio
import importlib
import importlib.util
import logging
import socket
import sys
import uuid
from collections.abc import Callable, Sequence
from enum import Enum
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace, TracebackType
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prefect_sora.servers.local.faults.injection import Drop, DroppableProtocol
from tests.support.bare_server import a_clip

SGLANG: Final = "sglang.multimodal_gen.runtime.entrypoints.openai"
FASTVIDEO: Final = "fastvideo.entrypoints.openai"

REAL: Final = {
    "sglang": {
        "sglang.multimodal_gen.runtime.utils.image_io",
        *(
            f"{SGLANG}.{name}"
            for name in ("video_api", "protocol", "stores", "utils", "storage", "video_progress")
        ),
    },
    "fastvideo": {
        f"{FASTVIDEO}.{name}"
        for name in ("video_api", "common_api", "protocol", "stores", "utils", "state")
    },
}
"""The modules that are the projects' own."""

_ABSENT: Final = {"sglang", "fastvideo", "zmq", "torch", "boto3", "aiofiles"}

_REASONS: Final = {
    "fail": "The engine ran out of memory (scripted).",
    "moderate": "Your request was blocked by our moderation system (scripted).",
}


class Engine:
    """Writes the clip, or fails as it is told."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clip = folder, a_clip("teal")
        self.fault = folder / "fault"

    def take(self, *wanted: str) -> str | None:
        """Use up the fault, where it is one of these."""
        told = self.fault.read_text("utf-8") if self.fault.exists() else None
        if told not in wanted:
            return None
        self.fault.unlink()
        return told

    def draw(self, path: str) -> None:
        """Make the video of one job.

        Raises:
            RuntimeError: It is told to.
        """
        told = self.take(*_REASONS)
        if told:
            raise RuntimeError(_REASONS[told])
        Path(path).write_bytes(self.clip)


class Losing:
    """Carries a create out and loses its answer, where that is told."""

    def __init__(self, app: ASGIApp, engine: Engine) -> None:
        self.app, self.engine = app, engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not self.engine.take("lose"):
            await self.app(scope, receive, send)
            return

        async def nobody(message: Message) -> None:
            pass

        await self.app(scope, receive, nobody)
        await Drop()(scope, receive, send)


class Absent(ModuleType):
    """A module that is not there: every name in it is an empty class."""

    __path__: list[str] = []  # noqa: RUF012 - Python's own name for a package's places

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (), {})
        setattr(self, name, made)
        return made


class Finder(MetaPathFinder, Loader):
    """Finds the real route files in the wheel, and nothing in place of the rest."""

    def __init__(self, name: str, wheel: Path, filled: dict[str, dict[str, Any]]) -> None:
        self.real, self.wheel, self.filled = REAL[name], wheel, filled

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in self.real:
            file = self.wheel / f"{fullname.replace('.', '/')}.py"
            return importlib.util.spec_from_file_location(fullname, file)
        if fullname.partition(".")[0] in _ABSENT:
            return ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return Absent(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        for ending, names in self.filled.items():
            if f".{module.__name__}".endswith(f".{ending}"):
                vars(module).update(names)


class _File:
    """What aiofiles opens."""

    def __init__(self, path: str, mode: str) -> None:
        self._file = Path(path).open(mode)  # noqa: SIM115 - this is the context manager

    async def __aenter__(self) -> "_File":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None
    ) -> None:
        self._file.close()

    async def write(self, data: bytes) -> None:
        self._file.write(data)


def fastvideo(engine: Engine) -> tuple[dict[str, dict[str, Any]], Callable[[], FastAPI]]:
    """What FastVideo's routes need, and how they become an application."""

    class Generator:
        def generate_video(self, **given: Any) -> dict[str, Any]:
            engine.draw(given["output_path"])
            return {}

    def app() -> FastAPI:
        state = importlib.import_module(f"{FASTVIDEO}.state")
        served = SimpleNamespace(model_path="FastVideo/FastWan2.1-T2V-1.3B-Diffusers")
        state.set_state(Generator(), served, str(engine.folder))
        made = FastAPI(title="FastVideo OpenAI-Compatible API")
        made.include_router(importlib.import_module(f"{FASTVIDEO}.video_api").router)
        made.include_router(importlib.import_module(f"{FASTVIDEO}.common_api").router)
        return made

    return {
        "aiofiles": {"open": _File},
        "fastvideo.logger": {"init_logger": logging.getLogger},
        "api.compat": {"explicit_request_updates": lambda _: {}},
    }, app


def sglang(engine: Engine) -> tuple[dict[str, dict[str, Any]], Callable[[], FastAPI]]:
    """What SGLang's routes need, and how they become an application."""
    folder = engine.folder

    class Sampling:
        prompt_optional, data_type, output_compression = False, "VIDEO", None
        width, height, num_frames, fps = 832, 480, 81, 16
        output_path = str(folder)

        def __init__(self, request_id: str, given: dict[str, Any]) -> None:
            vars(self).update({k: v for k, v in given.items() if v is not None})
            self.request_id = request_id

        @classmethod
        def lower_video_request_kwargs(cls, _: Any, given: dict[str, Any]) -> dict[str, Any]:
            return given

        @classmethod
        def from_user_sampling_params_args(
            cls, *, model_path: str, server_args: Any, request_id: str, **given: Any
        ) -> "Sampling":
            return cls(request_id, given)

        def output_file_path(self) -> str:
            return str(folder / f"{self.request_id}.mp4")

        def prepare_video_request_for_queue(self, _: Any) -> None: ...

        def expand_video_request_outputs_for_queue(self, _: Any) -> None: ...

        def project_video_queued_job_fields(self, _: Any) -> dict[str, Any]:
            return {}

        def validate_video_final_outputs(self, *_: Any) -> dict[str, Any]:
            return {}

        def cleanup_video_request(self, _: Any) -> None: ...

    named = "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
    served = SimpleNamespace(
        served_model_name=named,
        model_path=named,
        output_path=str(folder),
        input_save_path=str(folder),
        pipeline_config=SimpleNamespace(resolve_task_type=lambda *_, **__: "T2V"),
    )

    async def generated(_: Any, batch: Any, **__: Any) -> tuple[list[str], Any]:
        path = batch.sampling_params.output_file_path()
        await asyncio.to_thread(engine.draw, path)
        nothing = dict.fromkeys(("peak_memory_mb", "metrics", "usage", "action_pred", "lidar"))
        return [path], SimpleNamespace(**nothing)

    async def unchanged(_: Any, prompt: str, **__: Any) -> str:
        return prompt

    def size_of(text: str) -> tuple[int, ...] | tuple[None, None]:
        width, _, height = text.lower().partition("x")
        return (int(width), int(height)) if width.isdigit() and height.isdigit() else (None, None)

    def batch_of(*, sampling_params: Any, **_: Any) -> Any:
        return SimpleNamespace(sampling_params=sampling_params, extra={}, num_outputs_per_prompt=1)

    def app() -> FastAPI:
        utils = importlib.import_module(f"{SGLANG}.utils")
        vars(utils).update(
            resolve_sampling_params_cls=lambda _: Sampling,
            get_declared_request_extra_fields=lambda *_: set(),
            request_model_kwargs=lambda *_: {},
            process_generation_batch=generated,
        )
        made = FastAPI()
        made.include_router(importlib.import_module(f"{SGLANG}.video_api").router)
        return made

    DataType = Enum("DataType", ["VIDEO", "IMAGE", "ACTION"])  # noqa: N806 - a class
    return {
        "logging_utils": {"init_logger": logging.getLogger},
        "sample.sampling_params": {
            "SamplingParams": Sampling,
            "DataType": DataType,
            "generate_request_id": lambda: str(uuid.uuid4()),
        },
        "runtime.server_args": {"get_global_server_args": lambda: served},
        "openai.prompt_enhancement": {"maybe_enhance_prompt": unchanged},
        "observability.trace": {"extract_trace_headers": lambda _: None},
        "runtime.utils.common": {"parse_size": size_of},
        "runtime.entrypoints.utils": {"prepare_request": batch_of},
        "zmq": {"ZMQError": OSError},
    }, app


def main(name: str, wheel: str, folder: str) -> None:
    """Serve until the process that started us ends us."""
    engine = Engine(Path(folder))
    filled, app = {"fastvideo": fastvideo, "sglang": sglang}[name](engine)
    sys.meta_path.insert(0, Finder(name, Path(wheel), filled))
    served = Losing(app(), engine)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sys.stdout.write(f"http://127.0.0.1:{listening.getsockname()[1]}\n")
        sys.stdout.flush()
        config = uvicorn.Config(served, http=DroppableProtocol, log_level="warning", lifespan="off")
        uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main(*sys.argv[1:])
