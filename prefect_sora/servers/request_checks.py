"""Request checks: what a server lacks is refused before it is sent, with what to do instead."""

from collections.abc import Callable
from typing import Final, NoReturn

from pydantic import JsonValue

from prefect_sora.errors import InvalidRequestError
from prefect_sora.requests.video import DERIVED, VideoRequest
from prefect_sora.servers.costs import catalogue
from prefect_sora.servers.profiles import PROFILES, ExtraField, Profile
from prefect_sora.servers.profiles.sizes import size_fields, written_by_size
from prefect_sora.servers.server import Server

_INSTEAD: Final = {
    "remix": "Render anew from the last frame of a kept clip (remix_chain with emulate=True)",
    "edit": "Render anew, from a prompt or a picture",
    "extend": "Go on from its last frame: a storyboard with chain: last_frame does",
}


def check(request: VideoRequest, server: Server) -> None:
    """Refuse a request that this server cannot carry out.

    Raises:
        InvalidRequestError: It names the server, what it lacks, and who or what has it.
    """
    can = server.profile
    if can.sync_create and request.kind != "existing":
        _refuse(
            server,
            "no jobs: it answers a create when the video is there, so that a lost connection loses "
            "what was paid for",
            f"Use a server that has them: {_those(lambda p: not p.sync_create)}",
        )
    if request.kind in DERIVED and request.kind not in can.derives:
        _refuse(
            server,
            f"no {request.kind} of a finished video",
            f"{_INSTEAD[request.kind]}, or use a server that has it: "
            f"{_those(lambda p: request.kind in p.derives)}",
        )
    if request.characters and not can.characters:
        _refuse(
            server,
            "no characters",
            "Describe them in the prompt, or use a server that has them: "
            f"{_those(lambda p: p.characters)}",
        )
    _check_model(request, server)
    if request.kind == "create":
        size_fields(request.size, can)
    if request.reference is not None and can.image_transport == "https":
        public = str(request.reference).startswith("https://")
        if not public:
            _refuse(
                server,
                "no way to take a picture but by a public https address",
                "Put it where everybody can read it, and give that address",
            )
    if can.sizes is not None and request.size and request.size not in can.sizes:
        _refuse(server, f"no size {request.size}", f"It renders {', '.join(can.sizes)}")
    longest = can.longest_seconds
    if longest and request.kind == "create" and request.seconds > longest:
        _refuse(
            server,
            f"no clips of {request.seconds} s, only up to {longest:g} s",
            "Make several, and join them: see storyboard",
        )
    if request.pixels and request.kind == "create":
        check_edges(request.pixels, server)
        if can.even_sizes and any(edge % 2 for edge in request.pixels):
            even = "x".join(str(edge + edge % 2) for edge in request.pixels)
            _refuse(server, f"no size {request.size}: both sides have to be even", f"Take {even}")
    most = can.longest_extension
    if most and request.kind == "extend" and request.seconds > most:
        _refuse(
            server,
            f"no extension by {request.seconds} s, only up to {most:g} s",
            "Extend it several times",
        )
    for name, value in request.extra.items():
        _check_extra(name, value, server)


def check_offered(request: VideoRequest, server: Server) -> None:
    """Refuse what the server's own catalogue of models lacks, as far as it has been read.

    Raises:
        InvalidRequestError: It says what is offered; nothing was sent.
    """
    if server.profile.catalog_path:
        catalogue.check(request, server.label, server.base_url)


def _check_model(request: VideoRequest, server: Server) -> None:
    """Refuse a model's name that the server cannot have, and none where it needs one."""
    can, name = server.profile, server.model_for(request.model)
    if request.kind == "existing" or request.allow_unlisted or server.deployment:
        return
    if name is None and can.model_required:
        _refuse(server, f"no model of its own choice for {request.kind}", "Name the model")
    if name is not None and not can.names(name):
        check_offered(request, server)  # its own catalogue may say which is meant
        such = " or ".join(can.model_names)
        _refuse(server, f"no model {name!r}: its models' names are like {such}", "Name one")


def check_edges(pixels: tuple[int, int], server: Server) -> None:
    """Refuse a size that is larger than this server draws.

    Raises:
        InvalidRequestError: It is.
    """
    longest = server.profile.longest_edge
    if longest and max(pixels) > longest:
        said = f"no size {pixels[0]}x{pixels[1]}"
        _refuse(server, said, f"Each side has {longest} pixels at most")


def needs(server: Server, capability: str, said: str, instead: str) -> None:
    """Refuse a call for which the server lacks a capability.

    Args:
        server: Who would be asked.
        capability: A field of `Profile` that is true where it can.
        said: What it lacks, as in "has no …".
        instead: What to do.

    Raises:
        InvalidRequestError: It lacks it.
    """
    if not getattr(server.profile, capability):
        _refuse(server, said, instead)


def _those(having: Callable[[Profile], bool]) -> str:
    return ", ".join(name for name, profile in PROFILES.items() if having(profile))


def _refuse(server: Server, lacks: str, instead: str) -> NoReturn:
    who = f"{server.profile.name} server {server.label}" if not server.local else "local renderer"
    raise InvalidRequestError(
        f"The {who} has {lacks}.",
        next_step=f"{instead}.",
    )


def _check_extra(name: str, value: JsonValue, server: Server) -> None:
    can = server.profile
    if name in written_by_size(can):
        raise InvalidRequestError(
            f"extra holds {name!r}, which would be sent unchecked.",
            next_step="Give seconds and size, of which it is written.",
        )
    takes = can.fields.get(name)
    if takes is None:
        if can.strict:
            _refuse(
                server,
                f"no field {name!r}, and refuses what it does not know",
                f"It takes {', '.join(sorted(can.fields))}",
            )
        return
    if not _fits(value, takes):
        limits = [
            f"{word} {limit:g}"
            for word, limit in (("at least", takes.least), ("at most", takes.most))
            if limit is not None
        ]
        wanted = ", ".join([_WORDS[takes.type], *limits])
        _refuse(server, f"another idea of {name!r}: {value!r} is not {wanted}", "Correct it")


_WORDS: Final = {
    "int": "a whole number",
    "number": "a number",
    "text": "text",
    "bool": "true or false",
    "object": "an object",
    "list": "a list",
}


def _fits(value: JsonValue, takes: ExtraField) -> bool:
    match takes.type:
        case "int":
            fits = isinstance(value, int) and not isinstance(value, bool)
        case "number":
            fits = isinstance(value, (int, float)) and not isinstance(value, bool)
        case "text":
            fits = isinstance(value, str)
        case "bool":
            fits = isinstance(value, bool)
        case "object":
            fits = isinstance(value, dict)
        case "list":
            fits = isinstance(value, list)
    if not fits or takes.type not in ("int", "number"):
        return fits
    number = float(value)  # type: ignore[arg-type]  # it is one of the two
    return (takes.least is None or number >= takes.least) and (
        takes.most is None or number <= takes.most
    )
