"""`prefect-sora doctor`: is everything there that a render needs? Nothing is sent or paid.

But with --contract, which asks before.
"""

import difflib
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from prefect_sora import __version__
from prefect_sora.cli import exits, prefect_start, signals
from prefect_sora.cli.options import SHOWN, WHERE, Count, Flag, Shown, Where
from prefect_sora.cli.redaction import safe
from prefect_sora.cli.run import chosen_by, run_command
from prefect_sora.cli.saved import NamedStore, store_named
from prefect_sora.cli.screen import Screen
from prefect_sora.errors import InvalidRequestError, RejectedError, SoraError, VideoNotFoundError
from prefect_sora.errors.next_steps import NextStep, in_words, steps_of
from prefect_sora.renders.environment import NamedProvider
from prefect_sora.servers import video_models
from prefect_sora.servers.profiles import Profile
from prefect_sora.servers.protocol.video_object import ServedModel
from prefect_sora.servers.server import Server
from prefect_sora.store.backends.filesystems import on_disk
from prefect_sora.store.backends.mounts import shared_kind

_PACKAGES: Final = ("prefect", "openai", "av", "pillow", "fsspec", "s3fs")

_IN_DOUBT: Final = (
    "A person decides on a render that is in doubt after a crash.",
    NextStep("adopt", "Where the server has it,"),
    NextStep("resubmit", "Else"),
)


@dataclass(frozen=True)
class Finding:
    """One check's outcome.

    Attributes:
        check: What was looked at.
        ok: Whether a render can go on; a doubt is fine.
        found: What was found.
        next_step: What to do, where something is wrong or doubtful.
    """

    check: str
    ok: bool
    found: str
    next_step: str | None = None


def doctor(
    *,
    where: Where = WHERE,
    model: str | None = None,
    contract: Flag = False,
    size: str | None = None,
    seconds: Count | None = None,
    yes: Flag = False,
    shown: Shown = SHOWN,
) -> int:
    """Check versions, provider, server, store and Prefect; nothing is rendered or paid.

    With --contract the server itself is tried instead: each behaviour of the protocol, on up to
    six short clips, which are kept in the store. It says what they will cost, and asks first.

    Args:
        where: See above.
        model: Check that the server has this model for this account, too; with --contract, the
            model of the clips.
        contract: Try what the server does and does not, and tell it as a table.
        size: With --contract, pixels as WIDTHxHEIGHT; the smallest that is known otherwise.
        seconds: With --contract, the clips' length; the shortest that is known otherwise.
        yes: With --contract, pay what it costs without being asked.
        shown: See above.
    """

    def body(screen: Screen) -> int:
        if contract:
            from prefect_sora.cli.commands.contract import contract as try_contract

            return try_contract(screen, where, model=model, size=size, seconds=seconds, yes=yes)
        if size or seconds or yes:
            raise InvalidRequestError(
                "--size, --seconds and --yes go with --contract.",
                next_step="Add --contract, or leave them out.",
            )
        findings = []
        for finding in _findings(where, model):
            findings.append(finding)
            _tell(screen, finding)
        healthy = all(finding.ok for finding in findings)
        screen.document({"ok": healthy, "checks": [_as_json(finding) for finding in findings]})
        return exits.OK if healthy else exits.FAILED

    return run_command(shown, body, where.store, where.provider, pays=contract)


def _findings(where: Where, model: str | None) -> Iterator[Finding]:
    yield _versions()
    server = None
    try:
        renderer = chosen_by(where)
        server = renderer.server()
    except SoraError as error:
        yield _trouble("provider", error)
    else:
        yield _described(renderer, server)
    if server is not None:
        yield from signals.run(lambda: _asked(server, model))
    try:
        store = store_named(where.store)
    except SoraError as error:
        yield _trouble("store", error)
    else:
        yield signals.run(lambda: _store(store))
    yield signals.run(_prefect)


def _versions() -> Finding:
    found = [f"Python {sys.version.split()[0]}", f"prefect-sora {__version__}"]
    missing = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            missing.append(package)
    if missing:
        step = "pip install --force-reinstall prefect-sora"
        return Finding("versions", False, f"missing: {', '.join(missing)}", step)
    return Finding("versions", True, " · ".join(found))


def _described(renderer: NamedProvider, server: Server) -> Finding:
    renewed = "tokens of this machine" if server.renewable else "a token"
    asks = renewed if server.token else "a key" if server.api_key else "no key"
    told = {
        "deployment": server.deployment,
        "for pictures": server.image_deployment,
        "with": None if server.local else asks,
    }
    more = "".join(f" · {name} {value}" for name, value in told.items() if value)
    return Finding("provider", True, f"{renderer.name}: {renderer.label}{more}")


async def _asked(server: Server, model: str | None) -> list[Finding]:
    from prefect_sora.servers.protocol.connections import connect
    from prefect_sora.servers.protocol.detect import recognised

    try:
        server = await recognised(server)
    except SoraError as error:
        return [_trouble("server", error)]
    client = connect(server)
    about = _profile(server.profile)
    has_key = server.api_key is not None or server.token is not None
    key = " and takes the key" if has_key else ", without a key"
    listed = unlisted = None
    models: list[ServedModel] = []
    try:
        listed = await client.list_page(limit=1)
    except SoraError as error:
        unlisted = error
    try:
        models = await client.models()
        more = f" and {len(models) - 4} more" if len(models) > 4 else ""
        names = ", ".join(one.id for one in models[:4])
        named = f"models: {names}{more}" if models else "it names no models"
        answers = Finding("server", True, f"answers{key}; {named}")
    except SoraError as error:
        # Few servers other than OpenAI's have that list; jobs are what matters.
        has_none = isinstance(error, (RejectedError, VideoNotFoundError))
        if listed is not None and has_none:
            answers = Finding("server", True, f"answers{key}; it names no models")
        elif has_none and isinstance(unlisted, RejectedError):
            answers = Finding("server", True, "answers; a create alone can tell what it can do")
        else:
            return [about, _trouble("server", error)]
    found = [about, answers, *([_access(server, model, models)] if model else [])]
    if listed is not None:
        return [*found, Finding("listing", True, "it lists its jobs")]
    if isinstance(unlisted, RejectedError):
        return [
            *found,
            Finding(
                "listing",
                True,
                "it lists no jobs",
                in_words(steps_of(_IN_DOUBT)),
            ),
        ]
    return [*found, *([_trouble("listing", unlisted)] if unlisted else [])]


def _access(server: Server, model: str, served: list[ServedModel]) -> Finding:
    """Say whether the account may use a model, as far as that shows before it is paid for."""
    known = video_models.find(model)
    ended = known.ended.get(server.ends_models) if known and server.ends_models else None
    if ended and ended <= datetime.now(UTC).date():
        step = "Name another server that still renders with --provider, and its model."
        return Finding("model", False, f"{model} was ended here on {ended:%Y-%m-%d}", step)
    entry = next((one for one in served if one.id == model), None)
    if entry is not None:
        ends = f"; it ends on {entry.shutdown_date}" if entry.shutdown_date else ""
        return Finding("model", True, f"{model}: the server has it for this account{ends}")
    if server.local or not served:
        why = "renders any model" if server.local else "names no models: only a render can tell"
        return Finding("model", True, f"{model}: the server {why}")
    if server.deployment:
        step = "What counts is the deployment's name; its list is of what could be deployed."
        return Finding("model", True, f"{model} is not in the server's list", step)
    near = difflib.get_close_matches(model, [one.id for one in served], n=3, cutoff=0.3)
    some = near or [one.id for one in served[:5]]
    return Finding(
        "model",
        False,
        f"{model}: not among the {len(served)} models that the server has for this account",
        f"Name one that it has, such as {', '.join(some)}; or ask for access to it.",
    )


def _profile(profile: Profile) -> Finding:
    """Say what the server is taken for, and what it can do besides creating."""
    can = {
        "lists": profile.can_list,
        "deletes": profile.can_delete,
        **{kind: kind in profile.derives for kind in ("remix", "edit", "extend")},
        "characters": profile.characters,
        **{still: still in profile.variants for still in ("thumbnail", "spritesheet")},
    }
    if profile.sync_create:
        return Finding(
            "profile",
            False,
            f"{profile.name}: it keeps no jobs, so that a connection that breaks loses the render",
            "Use a server that keeps jobs.",
        )
    has = ", ".join(name for name, there in can.items() if there) or "nothing but creates"
    lacks = ", ".join(name for name, there in can.items() if not there)
    return Finding("profile", True, f"{profile.name}: {has}{f'; not {lacks}' if lacks else ''}")


async def _store(named: NamedStore) -> Finding:
    try:
        await named.folder.check()
    except SoraError as error:
        return _trouble("store", error)
    store, said = named.folder.root, f" ({named.folder.root})" if named.block else ""
    good = f"{named.name}{said}: writes, reads and lists; two runs cannot overwrite each other"
    if (path := on_disk(store)) and (kind := shared_kind(path)):
        return Finding(
            "store",
            True,
            f"{good} on this machine; but on {kind} another may not see that in time",
            "If several machines write there: on NFS mount it without nolock and local_lock; in "
            "place of what a program mounts (FUSE) name the bucket itself, such as s3://bucket.",
        )
    return Finding("store", True, good)


def _no_prefect(home: object) -> Finding:
    return Finding("prefect", True, f"not configured; commands run without it (data in {home})")


async def _prefect() -> Finding:
    if prefect_start.is_plain():
        return _no_prefect(prefect_start.home())
    from prefect import get_client
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, PREFECT_SERVER_EPHEMERAL_ENABLED

    url = PREFECT_API_URL.value()
    if not url and PREFECT_SERVER_EPHEMERAL_ENABLED.value():
        return _no_prefect(PREFECT_HOME.value())
    if not url:
        step = "prefect config set PREFECT_API_URL=http://127.0.0.1:4200/api"
        return Finding("prefect", False, "no API, and temporary servers are forbidden", step)
    async with get_client() as client:
        error = await client.api_healthcheck()
    if error is None:
        return Finding("prefect", True, f"{url} answers")
    return Finding(
        "prefect",
        False,
        f"{url} does not answer: {type(error).__name__}: {error}",
        "Start it with `prefect server start`, or correct PREFECT_API_URL.",
    )


def _trouble(check: str, error: SoraError) -> Finding:
    steps = (step for step in error.steps if step.kind != "doctor")
    return Finding(check, False, error.message, in_words(steps, "terminal"))


def _as_json(finding: Finding) -> dict[str, object]:
    return {name: safe(v) if isinstance(v, str) else v for name, v in asdict(finding).items()}


def _tell(screen: Screen, finding: Finding) -> None:
    style = "red" if not finding.ok else "yellow" if finding.next_step else "green"
    screen.result(f"{'✓' if finding.ok else '✗'} {finding.check:<9} {finding.found}", style=style)
    if finding.next_step:
        screen.result(f"  {'':<9} → {finding.next_step}")
