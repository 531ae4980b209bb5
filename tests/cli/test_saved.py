"""Saved: stores and providers that are named by their blocks, by a name alone, or by a URL."""

import os
import re
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from prefect_sora import LocalRenderer, OpenAICredentials, VideoStore
from prefect_sora.cli import exits, keys, saved
from prefect_sora.cli.run import chosen
from prefect_sora.errors import InvalidRequestError
from prefect_sora.renders.environment import named_provider
from tests.cli.conftest import TINY, Begin, Cli
from tests.support.renderer import Renderer

QUICK_SECONDS = 3.0  # measured: 0.5 s on an idle machine; importing Prefect alone takes 0.9 s


@pytest.fixture
def cli(cli: Cli, renderer: Renderer, prefect_api: str, prefect: str) -> Cli:
    """Commands that know a video server and a Prefect server, on which blocks are saved."""
    cli.environment.update(OPENAI_BASE_URL=renderer.base_url, PREFECT_API_URL=prefect_api)
    return cli


@pytest.fixture
def name() -> str:
    """A name that no other test has given."""
    return f"clips-{uuid4().hex[:8]}"


@pytest.fixture
def slug(cli: Cli, name: str, store: str) -> str:
    """A saved store at the test's folder, with a daily budget."""
    VideoStore(store, daily_budget_usd=0.5).save(name)
    return f"sora-video-store/{name}"


def printed(text: str) -> list[list[str]]:
    """The commands that a text tells a person to type."""
    return [shlex.split(found)[1:] for found in re.findall(r"`(prefect-sora [^`]+)`", text)]


def test_a_saved_store_keeps_and_resumes_and_each_command_that_is_printed_runs(
    cli: Cli, renderer: Renderer, store: str, slug: str, begin: Begin
) -> None:
    job = begin(renderer)

    refused = cli("render", "a red kite", *TINY, "--store", slug)
    (resume,) = printed(refused.err)
    assert refused.code == exits.UNDECIDED
    assert resume == ["resume", job.key, "--store", slug, "--provider", renderer.base_url]

    home = cli(*resume)
    assert home.code == exits.OK, home.err
    assert list(Path(store).glob(f"*-{job.key}/video.mp4"))
    assert renderer.accepted() == 1
    assert [path.name for path in cli.folder.glob("run-*/*") if path.is_dir()] == []


def test_the_daily_budget_of_a_saved_store_holds_on_the_command_line(
    cli: Cli, renderer: Renderer, slug: str
) -> None:
    words = ("render", "a red kite", "--seconds", "8", "--store", slug, "--poll-interval", "0.1")
    priced = {"PREFECT_SORA_PRICES": '{"sora-2": 0.1}'}
    for how in ("--prefect", "--no-prefect"):
        over = cli(*words, how, "--json", **priced)
        assert (over.code, over.json["error"]["type"]) == (3, "BudgetExceededError"), over.err
    assert renderer.accepted() == 0


def test_a_render_on_a_saved_provider_says_its_price_before(
    cli: Cli, renderer: Renderer, slug: str, name: str
) -> None:
    OpenAICredentials(base_url=renderer.base_url, prices={"sora-2": 0.4}).save(name)
    provider = f"sora-openai-credentials/{name}"
    clip = ("--seconds", "1", "--size", "64x64", "--poll-interval", "0.1")
    made = cli("render", "a kite", *clip, "--provider", provider, "--store", slug, "--no-prefect")
    assert made.code == exits.OK, made.err
    assert "cost  $0.40" in made.err.partition("accepted")[0]


def test_a_name_alone_is_the_saved_store_where_no_folder_is_called_so(
    cli: Cli, slug: str, name: str, store: str
) -> None:
    listed = cli("retrieve", "0123456789ab", "--store", name)
    assert f"The store {slug} has no accepted render" in listed.err

    environment = {"PREFECT_API_URL": cli.environment["PREFECT_API_URL"]}
    assert saved.store_named(name, environment).folder.root == store
    assert saved.store_named(f"./{name}", environment).folder.root == os.path.abspath(name)
    assert saved.store_named("nobody", environment).folder.root == os.path.abspath("nobody")


def test_a_name_that_stands_for_a_folder_and_a_saved_store_is_asked_about(
    cli: Cli, slug: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    with pytest.raises(InvalidRequestError, match="a folder here, and a saved store") as told:
        saved.store_named(name, {"PREFECT_API_URL": cli.environment["PREFECT_API_URL"]})
    assert f"./{name} or {slug}" in str(told.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--store", "sora-video-store/nobody"), "Prefect has no block sora-video-store/nobody"),
        (("--store", "sora-local-renderer/x"), "is a saved provider, and no store"),
        (("--store", "sora-video-stores/x"), "is no type of store"),
        (("--store", "s3-bucket/x"), "is no type of store"),
        (("--provider", "sora-openai-credentials/nobody"), "no block sora-openai-credentials/nob"),
        (("--provider", "sora-openai/x"), "sora-openai is no type of provider"),
        (("--provider", "nobody"), "'nobody' is no provider"),
    ],
    ids=["no store", "a provider", "a slip", "of Prefect's own", "no block", "no type", "no name"],
)
@pytest.mark.parametrize("command", ["render", "resume"])
@pytest.mark.parametrize("api", ["a server", "none"])
def test_what_is_not_saved_is_refused_at_once_and_no_folder_is_made(
    cli: Cli, renderer: Renderer, words: tuple[str, ...], said: str, command: str, api: str
) -> None:
    if api == "none":
        del cli.environment["PREFECT_API_URL"]
    ended = cli(*(("render", "a kite", *TINY) if command == "render" else ("resume",)), *words)

    assert ended.code == exits.USAGE, ended.out
    assert said in " ".join(ended.err.split())
    assert ended.seconds < QUICK_SECONDS
    assert "starting Prefect" not in ended.err
    assert renderer.requests() == []
    assert [path.name for path in cli.folder.glob("run-*/*") if path.is_dir()] == []


def test_a_temporary_server_is_not_started_for_a_block_that_it_does_not_have(cli: Cli) -> None:
    del cli.environment["PREFECT_API_URL"]
    home = cli.folder / "prefect"
    home.mkdir(exist_ok=True)
    with closing(sqlite3.connect(home / "prefect.db")) as database:
        database.execute("CREATE TABLE block_type (id TEXT, slug TEXT)")
        database.execute("CREATE TABLE block_document (name TEXT, block_type_id TEXT)")
        database.execute("INSERT INTO block_type VALUES ('1', 'sora-video-store')")
        database.execute("INSERT INTO block_document VALUES ('clips', '1')")
        database.commit()

    for word in ("sora-video-store/nobody", "sora-local-renderer/clips"):
        option = "--store" if "store" in word else "--provider"
        ended = cli("resume", option, word)
        assert (ended.code, f"Prefect has no block {word}" in ended.err) == (exits.USAGE, True)
        assert "temporary server" not in ended.err
    assert saved._in_database("sora-video-store", "clips", {"PREFECT_HOME": str(home)}) is True


def test_a_saved_provider_is_found_by_its_name_alone_where_it_is_unique(
    cli: Cli, renderer: Renderer, name: str, store: str
) -> None:
    OpenAICredentials(base_url=renderer.base_url).save(name)
    words = ("render", "a red kite", *TINY, "--store", store, "--provider", name, "--json")
    assert cli(*words, "--no-prefect").json["provider"] == renderer.base_url.partition("://")[2]

    LocalRenderer(folder=str(cli.folder / "r")).save(name)
    twice = cli(*words)
    assert twice.code == exits.USAGE
    assert f"sora-openai-credentials/{name} or sora-local-renderer/{name}" in twice.err


def test_a_saved_store_is_not_taken_for_a_folder_in_python(slug: str, renderer: Renderer) -> None:
    from prefect_sora.blocks import store_of

    with pytest.raises(InvalidRequestError, match="is the name of a saved store"):
        store_of(slug)


def test_a_url_is_a_provider_and_is_named_so_in_commands(
    cli: Cli, renderer: Renderer, store: str
) -> None:
    renderer.faults([{"on": "create", "do": "stall"}])
    words = ("render", "a kite", *TINY, "--store", store, "--provider", renderer.base_url)
    late = cli(*words, "--timeout", "0.5", "--no-prefect", OPENAI_BASE_URL="")
    (command,) = printed(late.err)
    assert late.code == 6
    assert command[-4:] == ["--store", store, "--provider", renderer.base_url]


def test_a_key_goes_to_its_own_server_alone() -> None:
    theirs = {"OPENAI_API_KEY": "sk-of-openai-1234567"}

    def key(url: str, **more: str) -> str | None:
        held = named_provider(url, {**theirs, **more}).server().api_key
        return held.get_secret_value() if held else None

    assert key("http://gpu-box:30010/v1") is None
    assert key("http://gpu-box:30010/v1", PREFECT_SORA_API_KEY="sk-1") == "sk-1"
    assert key("http://a:1/v1", OPENAI_BASE_URL="http://a:1/v1/") == theirs["OPENAI_API_KEY"]
    assert key("https://api.openai.com/v1") == theirs["OPENAI_API_KEY"]


@pytest.mark.parametrize(
    ("provider", "variable"),
    [
        ("openai", "OPENAI_API_KEY"),
        ("azure", "AZURE_OPENAI_API_KEY"),
        ("http://a:1/v1", "PREFECT_SORA_API_KEY"),
        (None, "OPENAI_API_KEY"),
    ],
)
def test_a_key_is_read_from_a_file_descriptor(provider: str | None, variable: str) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"sk-from-a-pipe-1\n")
    os.close(writing)
    environ: dict[str, str] = {}
    keys.use(f"fd:{reading}", provider, environ)
    os.close(reading)
    assert environ == {variable: "sk-from-a-pipe-1"}


def test_a_key_that_is_typed_is_used_with_a_warning_and_shown_nowhere(cli: Cli, store: str) -> None:
    ended = cli("list", "--store", store, "--api-key", "sk-typed-1234")
    assert ended.code == exits.OK
    assert "stands in the shell's history" in ended.err
    assert "sk-typed-1234" not in ended.out + ended.err


def test_a_key_is_refused_for_what_takes_none() -> None:
    with pytest.raises(InvalidRequestError, match="and not with local"):
        chosen("local", "sk-1", {})
    with pytest.raises(InvalidRequestError, match="no such file descriptor"):
        chosen("openai", "fd:987", {})
