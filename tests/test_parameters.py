"""Parameters: what a flow's form asks, and what a deployment has saved of it, stays as it is."""

import inspect
import json
import pydoc
from pathlib import Path
from typing import Any

import pytest
from prefect.utilities.callables import parameter_schema

import prefect_sora
from prefect_sora import (
    InvalidRequestError,
    VideoStore,
    extend_video,
    image_to_video,
    render_batch,
    render_video,
    submit_video,
    text_to_video,
)
from prefect_sora.blocks import LocalRenderer
from prefect_sora.renders.submit.options import RenderOptions
from prefect_sora.tasks.parameters import options_of, request_of

FORMS: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "forms.json").read_text())


@pytest.mark.parametrize("name", FORMS)
def test_a_form_asks_what_deployments_know(name: str) -> None:
    schema = parameter_schema(getattr(prefect_sora, name)).model_dump_for_openapi()
    asked = schema["properties"]
    places = [field.pop("position") for field in asked.values()]
    assert places == list(range(len(places))), "each has a place of its own in the form"
    assert asked == FORMS[name]["properties"]
    assert sorted(schema.get("required", [])) == FORMS[name]["required"]
    assert sorted(schema.get("definitions", {})) == FORMS[name]["definitions"]


def test_what_a_flow_is_about_is_given_by_place_and_all_else_by_name() -> None:
    provider, store = LocalRenderer(folder="./r"), VideoStore(url="./renders")
    checked = text_to_video.validate_parameters(
        {"prompt": "a kite", "provider": provider, "store": store, "seconds": "4"}
    )
    assert (checked["seconds"], checked["poll_interval_seconds"]) == (4, 5)
    signature = inspect.signature(text_to_video)
    assert signature.bind("a kite", provider, store, seconds=4).arguments["seconds"] == 4
    with pytest.raises(TypeError, match="too many positional"):
        signature.bind("a kite", provider, store, "sora-2")


def test_a_task_names_each_parameter_that_it_shares_with_others() -> None:
    shared = {"scope", "timeout_seconds", "in_doubt", "max_cost_usd"}
    waiting = {"poll_interval_seconds", "stall_seconds", "on_cancel"}
    assert shared <= inspect.signature(submit_video).parameters.keys()
    assert shared <= inspect.signature(extend_video).parameters.keys()
    assert shared | waiting <= inspect.signature(render_video).parameters.keys()


def test_a_signature_is_readable_and_names_what_its_types_are_called() -> None:
    shown = str(inspect.signature(text_to_video))
    assert shown.startswith("(prompt: Prompt, provider: Providers, store: Store, *, model: Model")
    assert "FieldInfo" not in shown
    assert "max_concurrent: int = 2" in str(inspect.signature(render_batch))
    assert "scope: Scope = None" in pydoc.plain(pydoc.render_doc(submit_video))


@pytest.mark.parametrize(
    ("flow", "name", "advice"),
    [
        (text_to_video, "image", r"image_to_video\(prompt, image, …\) begins with a picture"),
        (text_to_video, "input_reference", r"image_to_video\(prompt, image"),
        (image_to_video, "input_reference", "Call it image"),
        (text_to_video, "duration", "Call it seconds"),
        (text_to_video, "second", "Call it seconds"),
        (submit_video, "wibble", "It takes request, provider, store"),
    ],
)
def test_a_name_that_is_not_taken_is_met_with_the_right_one(
    flow: Any, name: str, advice: str
) -> None:
    with pytest.raises(InvalidRequestError, match=f"takes no '{name}'.*{advice}"):
        flow("a kite", provider="local", store="./renders", **{name: "kite.png"})


async def test_what_is_not_said_is_as_the_values_themselves_have_it() -> None:
    """A flow's function may be called without Prefect, which fills in the form's defaults."""
    store = VideoStore(url="memory://clips", daily_budget_usd=3)
    options = await options_of({"scope": "tonight"}, store)
    assert options.budget is not None
    assert (options.budget.run_usd, options.budget.daily_usd) == (None, 3)
    assert options == RenderOptions("tonight", budget=options.budget)

    form = FORMS["text_to_video"]["properties"]
    defaults: Any = {name: field["default"] for name, field in form.items() if "default" in field}
    assert request_of(defaults, prompt="a kite") == request_of({}, prompt="a kite")
    defaults["scope"] = "tonight"
    assert await options_of(defaults, store) == options
