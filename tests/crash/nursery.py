"""Nursery: a process that has imported everything, and forks a child for each run of a flow.

One line of JSON in is one run; one line out is how its process ended. The child is a real
process with a real death, without the seconds that importing takes.
"""

import asyncio
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import prefect_sora
from prefect_sora import LocalRenderer, OpenAICredentials, VideoStore
from prefect_sora.flows import image_to_video, remix_chain, text_to_video

# What the facade and the flows import lazily is imported before the first fork.
for _name in prefect_sora.__all__:
    getattr(prefect_sora, _name)


async def render(order: dict[str, Any]) -> None:
    """Run the flow that an order names."""
    provider = order["provider"]
    block = LocalRenderer if "folder" in provider else OpenAICredentials
    way: dict[str, Any] = {
        "provider": block(**provider),
        "store": VideoStore(url=order["store"], storage_options=order["options"]),
        "model": None,
        "size": "64x64",
        "seconds": 1,
        "scope": "tonight",
        "timeout_seconds": 60,
        "poll_interval_seconds": 0.05,
    }
    prompt = order["prompt"]
    if order["flow"] == "text_to_video":
        await text_to_video(prompt, **way)
    elif order["flow"] == "image_to_video":
        await image_to_video(prompt, order["picture"], **way)
    else:
        await remix_chain(prompt, [f"add snow to {prompt}"], **way)


def child(order: dict[str, Any]) -> int:
    """Run one order to its end, or to its death."""
    from tests.crash.boundaries import watch

    sys.stdout = sys.stderr = Path(order["output"]).open("a")  # noqa: SIM115 - until the end
    watch(Path(order["log"]), order["server"], order["kill_at"], order["victim"])
    try:
        asyncio.run(render(order))
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
    return 0


def main() -> None:
    """Serve orders until there are no more."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = child(json.loads(line))
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
