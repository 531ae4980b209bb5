"""Futures: a flow that passes them from task to task on a task runner; run by test_runners.py.

python futures.py dask|ray BASE_URL STORE
"""

import sys
from typing import Any

from prefect import flow, unmapped
from prefect.runtime import flow_run as running_flow

from prefect_sora import (
    OpenAICredentials,
    VideoRequest,
    VideoStore,
    persist_video,
    render_video,
    submit_video,
    wait_for_video,
)

SMALL: dict[str, Any] = {"model": None, "size": "64x64", "seconds": 1}


def runner(name: str) -> Any:
    """A small cluster of its own."""
    if name == "dask":
        from prefect_dask import DaskTaskRunner

        return DaskTaskRunner(cluster_kwargs={"n_workers": 2, "threads_per_worker": 2})
    from prefect_ray import RayTaskRunner

    return RayTaskRunner(init_kwargs={"num_cpus": 2})


def main(name: str, base_url: str, url: str) -> None:
    """Print the run's id and where its videos are."""
    provider, store = OpenAICredentials(base_url=base_url), VideoStore(url=url)

    @flow(task_runner=runner(name))
    def kites() -> None:
        one: Any = submit_video.submit(VideoRequest.of(prompt="one", **SMALL), provider, store)
        done: Any = wait_for_video.submit(one, provider, store)
        kept: Any = persist_video.submit(done, provider, store)
        requests: list[Any] = [VideoRequest.of(prompt=f"mapped {n}", **SMALL) for n in (1, 2)]
        jobs = submit_video.map(requests, unmapped(provider), unmapped(store))
        videos = wait_for_video.map(jobs, unmapped(provider), unmapped(store))
        persist_video.map(videos, unmapped(provider), unmapped(store)).result()
        again: Any = render_video.map(requests, unmapped(provider), unmapped(store)).result()
        print(running_flow.id, kept.result().url, *(video.url for video in again))

    kites()


if __name__ == "__main__":
    main(*sys.argv[1:])
