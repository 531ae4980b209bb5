"""Product films: the day's table of products, a clip of each, one reel, and its manifest."""

import csv
import json
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, task
from prefect.runtime import flow_run
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from prefect_sora import (
    InvalidRequestError,
    ShotPrompt,
    StoredFilm,
    StoredVideo,
    VideoRequest,
    keyframe_to_video,
    render_batch,
)
from prefect_sora.blocks import Provider, Store, store_of
from prefect_sora.flows.image import ImageModel
from prefect_sora.flows.storyboards import keep_film
from prefect_sora.renders.film import Cut
from prefect_sora.requests.image import DEFAULT_MODEL
from prefect_sora.requests.problems import in_words
from prefect_sora.requests.shots import Words
from prefect_sora.servers.estimates import Estimate, Price
from prefect_sora.tasks.parameters import MaxCostUsd, Model, PollIntervalSeconds, Seconds, Size

TITLE = "The camera pushes in slowly; dust drifts through the light."
KEYFRAME = "An empty oak table by a tall window, early morning light, no people."


class Product(BaseModel, frozen=True, extra="forbid"):
    """A row of the table."""

    name: Words
    claim: Words
    mood: Words


Shown = tuple[str, str, StoredVideo]  # its name, its prompt, its clip


@flow(name="product-films", flow_run_name=lambda: f"product films · {_day()}")
async def product_films(
    provider: Provider,
    store: Store,
    products: Annotated[
        Path, Field(description="CSV of name, claim, mood; a path from this file's folder.")
    ] = Path("products.csv"),
    day: Annotated[
        date | None, Field(description="Whose films; None: the day that the run is scheduled for.")
    ] = None,
    model: Model = "sora-2",
    image_model: ImageModel = DEFAULT_MODEL,
    size: Size = None,
    seconds: Seconds = 4,
    max_concurrent: int = 2,
    max_cost_usd: MaxCostUsd = None,
    poll_interval_seconds: PollIntervalSeconds = 5,
) -> StoredFilm:
    """Film each product and a title, join the clips, and tell all in `product-films-DAY.json`.

    Runs of one day share their renders: a rerun pays for what is new in the table alone.
    """
    day = day or _day()
    clip: dict[str, Any] = {"model": model, "size": size, "seconds": seconds}
    shared: dict[str, Any] = {
        "scope": f"product-films-{day}",
        "max_cost_usd": max_cost_usd,
        "poll_interval_seconds": poll_interval_seconds,
    }
    shots = write_shots(read_products(Path(__file__).parent / products), clip)
    batch = await render_batch(
        [*shots.values()], provider, store, max_concurrent=max_concurrent, **shared
    )
    opening = await keyframe_to_video(
        TITLE, KEYFRAME, provider, store, image_model=image_model, **clip, **shared
    )
    shown = [("Title", TITLE, opening)]
    for (name, shot), video in zip(shots.items(), batch.videos, strict=True):
        shown.append((name, shot.prompt, video))
    cost_usd = Estimate(tuple(Price(video.cost_usd) for *_, video in shown)).usd
    reel: StoredFilm = await keep_film(f"Products of {day}", _cuts(shown), store, cost_usd)
    await write_manifest(day, shown, reel, store)
    return reel


# Its result is not kept: a retry sees what was mended in between, and pays for that alone.
@task(task_run_name="read · {path.name}")
def read_products(path: Path) -> list[Product]:
    """Read the table, or say which row is no product, before anything is paid."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file, restkey="a cell too many"))
    rows = {f"row {number}": line for number, line in enumerate(lines, start=1)}
    try:
        found = [*TypeAdapter(dict[str, Product]).validate_python(rows).values()]
        names = {" ".join(product.name.split()) for product in found}
        if found and len(names) == len(found):
            return found
        problem = "names a product twice." if found else "holds no product."
    except ValidationError as error:
        problem = in_words(error)
    raise InvalidRequestError(f"{path.name}: {problem}", next_step="Mend it; nothing was sent.")


@task
def write_shots(products: list[Product], clip: dict[str, Any]) -> dict[str, VideoRequest]:
    """Make each product the subject of a shot, under its name."""
    shots = {
        product.name: ShotPrompt(
            subject=f"the product {product.name}",
            action=f"stands on an oak table; it {product.claim}",
            shot_type="close-up",
            camera_movement="dolly in",
            atmosphere=product.mood,
        )
        for product in products
    }
    return {name: VideoRequest.of(prompt=shot, **clip) for name, shot in shots.items()}


@task(task_run_name="write manifest · {day}")
async def write_manifest(day: date, shown: list[Shown], reel: StoredFilm, store: Store) -> str:
    """Put beside the videos what there is, with hashes and costs, and say where."""
    told, ledger = {"url", "sha256", "cost_usd"}, store_of(store).ledger
    (keyframe,) = await ledger.find(str(shown[0][2].parent_key))
    drawn = (await ledger.state(keyframe)).pictures
    manifest = {
        "reel": reel.model_dump(include=told | {"cut_list_url", "contact_sheet_url"}),
        "keyframe": drawn and drawn.image.model_dump(include={"url", "files", "cost_usd"}),
        "clips": [{"name": name, **clip.model_dump(include=told)} for name, _, clip in shown],
    }
    data = json.dumps(manifest, indent=1, ensure_ascii=False).encode()
    return await store_of(store).folder.put(f"product-films-{day}.json", data)


def _cuts(shown: list[Shown]) -> list[Cut]:
    said = [{**clip.model_dump(), "title": name, "prompt": prompt} for name, prompt, clip in shown]
    alike = {"takes": 1, "continuity": "cut"}
    return [Cut.model_validate({**cut, **alike, "number": n}) for n, cut in enumerate(said, 1)]


def _day() -> date:
    # Not today: a run that waited for a worker, or was retried, keeps its day.
    scheduled: datetime = flow_run.scheduled_start_time
    return scheduled.date()
