"""Local and models: the renderer in the foreground, and the catalogue as a table."""

import json
import signal

import httpx2

from prefect_sora.cli import exits
from tests.cli.conftest import Cli
from tests.support.renderer import until


def test_the_renderer_says_where_it_answers_and_ends_with_ctrl_c(cli: Cli) -> None:
    running = cli.start("local", "--json", "--parallel", "1")
    running.until_it_says("Ctrl-C stops it.")
    address = json.loads(until(running.stdout, "the address is printed"))

    assert httpx2.get(f"{address['base_url']}/models").is_success
    already = cli.typed("local")
    running.send(signal.SIGINT)
    ended = running.end(15)

    assert ended.code == already.code == exits.OK
    assert f"export OPENAI_BASE_URL={address['base_url']}" in ended.err
    assert f"already runs at {address['base_url']}" in already.out


def test_the_renderer_names_the_variable_that_holds_its_key_and_never_the_key(cli: Cli) -> None:
    cli.environment["PREFECT_SORA_LOCAL_KEY"] = "sk-canary-of-the-renderer"
    running = cli.start("local")
    running.until_it_says("Ctrl-C stops it.")
    running.send(signal.SIGINT)
    ended = running.end(15)

    assert "OPENAI_API_KEY=$PREFECT_SORA_LOCAL_KEY" in ended.err
    assert "canary" not in ended.err + ended.out


def test_the_renderer_speaks_the_dialect_that_is_named(cli: Cli) -> None:
    running = cli.start("local", "--json", "--dialect", "tensorrt-llm", "--models", "ours")
    running.until_it_says("Ctrl-C stops it.")
    address = json.loads(until(running.stdout, "the address is printed"))

    (model,) = httpx2.get(f"{address['base_url']}/models").json()["data"]
    running.send(signal.SIGINT)

    assert (model["id"], model["owned_by"]) == ("ours", "tensorrt_llm")
    assert running.end(15).code == exits.OK
    assert cli("local", "--dialect", "klingon").code == exits.USAGE


def test_models_lists_each_model_with_its_sizes_and_prices(cli: Cli) -> None:
    shown = cli("models").out.splitlines()
    listed = {model["name"]: model for model in cli("models", "--json").json}

    assert shown[1].split()[:7] == ["sora-2", "4", "8", "12", "16", "20", "1280x720"]
    assert listed["sora-2"]["usd_per_second"]["1280x720"] == 0.10
    assert listed["sora-2-pro"]["ended"] == {"openai": "2026-09-24", "azure": "2026-09-15"}


def test_models_lists_those_that_draw_with_what_a_picture_costs(cli: Cli) -> None:
    shown = cli("models", "--images").out
    listed = {model["name"]: model for model in cli("models", "--images", "--json").json}

    assert ["gpt-image-1.5", "1024x1024", "low", "$0.009"] in [
        line.split()[:4] for line in shown.splitlines()
    ]
    assert listed["dall-e-3"]["ended"] == {"openai": "2026-05-12"}
    assert listed["gpt-image-2"]["usd"] == {}


def test_templates_are_listed_shown_and_copied(cli: Cli) -> None:
    listed = cli("templates").out.splitlines()
    assert [line.split()[0] for line in listed] == ["sora_shot_prompt", "sora_shot_prompt_defaults"]
    assert "medium shot at eye level" in listed[1]
    shown = cli("templates", "sora_shot_prompt_defaults")
    assert 'lens or "50mm"' in shown.out

    copy = cli.folder / "mine.j2"
    assert cli("templates", "sora_shot_prompt_defaults", "--copy", str(copy)).code == exits.OK
    assert copy.read_text().strip() == shown.out.strip()
    again = cli("templates", "sora_shot_prompt_defaults", "--copy", str(copy))
    assert (again.code, "is there already" in again.err) == (exits.USAGE, True)
    missing = cli("templates", "noir")
    assert (missing.code, "sora_shot_prompt_defaults" in missing.err) == (exits.USAGE, True)


def test_all_that_is_known_of_a_model_is_told(cli: Cli) -> None:
    shown = cli("models", "sora-2-pro")
    assert shown.code == exits.OK, shown.err
    lines = [line.split() for line in shown.out.splitlines()]
    assert ["1920x1080", "$0.70", "$2.80", "$5.60", "$8.40", "$11.20", "$14.00"] in [
        line[:7] for line in lines
    ]
    for word in ("good for", "ratios", "picture", "rendering takes", "limits", "ended"):
        assert f"  {word}" in shown.out
    assert "1080p is 1920x1080" in shown.err

    told = cli("models", "gpt-image-1.5", "--json").json
    assert (told["kind"], told["usd_per_picture"]["low"]["1024x1024"]) == ("image", 0.009)
    own = cli("models", "wan", "--json", PREFECT_SORA_PRICES='{"wan": 0.25}').json
    assert (own["listed"], own["prices"][0]["usd_per_clip"]["8"]) == (False, 2.0)


def test_a_renderer_for_other_machines_has_a_key(cli: Cli) -> None:
    ended = cli("local", "--host", "0.0.0.0", "--folder", "never")  # noqa: S104 - refused
    assert ended.code != 0
    assert "Set PREFECT_SORA_LOCAL_KEY" in ended.err
    assert "Traceback" not in ended.err
