"""Options: how a renderer behaves, as one value that also travels on a command line."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from typing import Final, Literal, get_args

from prefect_sora.errors import InvalidRequestError

KEY_VARIABLE = "PREFECT_SORA_LOCAL_KEY"
WEBHOOK_SECRET_VARIABLE = "PREFECT_SORA_LOCAL_WEBHOOK_SECRET"  # noqa: S105 - a variable's name

DialectName = Literal[
    "openai",
    "azure",
    "sglang",
    "vllm-omni",
    "fastvideo",
    "tensorrt-llm",
    "litellm",
    "new-api",
    "openrouter",
    "together",
    "xai",
    "bifrost",
]
"""The servers that the renderer can behave like; `openai` is the protocol's own form."""

DIALECTS: Final[tuple[DialectName, ...]] = get_args(DialectName)

_HOUR: Final = 3600.0
_KEPT_SECONDS: Final = {"azure": 24 * _HOUR, "xai": 24 * _HOUR}
"""How long a server keeps a video, by its docs. All others: an hour, as in OpenAI's guide."""

_IN_MEMORY: Final = frozenset({"sglang", "vllm-omni", "fastvideo", "tensorrt-llm"})
"""Servers that keep jobs for as long as their process runs."""

SIGNING: Final[Mapping[str, Literal["standard", "openrouter"]]] = {
    "openai": "standard",
    "openrouter": "openrouter",
}
"""Servers that send webhooks, and how they sign them."""


@dataclass(frozen=True)
class RendererOptions:
    """How a renderer behaves; `python -m prefect_sora.servers.local` has a switch for each field.

    Attributes:
        host: Where to listen. Loopback unless said otherwise, which takes an `api_key`.
        port: Port; 0 takes the folder's last port if it is free, else any.
        speed: Simulated pace: a job takes ten times its seconds divided by this. None: as fast
            as it is drawn.
        min_render_seconds: No job takes less, whatever it draws.
        parallel: Jobs rendered at once.
        ttl: Seconds from a job's end until its video is forgotten. None: as its dialect does,
            an hour unless that says otherwise.
        idle_exit: Seconds without a request or an unfinished job after which the process ends.
            None: never.
        poll_after_ms: Advice to pollers while a job is unfinished; 0 leaves it out.
        idempotency: Whether a repeated `Idempotency-Key` finds its first job again.
        control: Whether `/faults`, `/requests` and `/reset` answer. For tests only.
        faults: Scripted faults: a JSON list, or the path of a file with one.
        dialect: Which server it behaves like: one of `DIALECTS`.
        models: Names of the models it serves, with commas; None: the dialect's own.
        cloud: Finished videos lie at a URL of their own, as in SGLang's cloud storage mode,
            or where OpenRouter has kept a copy.
        webhook: The URL to tell of each job's end; None: only the one that a create names.
        webhook_secret: What that is signed with; without it no URL of a create is called.
        api_key: Bearer key that `/v1` demands. It and the secret travel in the environment only.

    Raises:
        InvalidRequestError: Other machines would reach it, and it has no key.
        ValueError: There is no such dialect.
    """

    host: str = "127.0.0.1"
    port: int = 0
    speed: float | None = None
    min_render_seconds: float = 0.0
    parallel: int = 2
    ttl: float | None = None
    idle_exit: float | None = None
    poll_after_ms: int = 200
    idempotency: bool = False
    control: bool = False
    faults: str | None = None
    dialect: str = "openai"
    models: str | None = None
    cloud: bool = False
    webhook: str | None = None
    webhook_secret: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.api_key and not is_loopback(self.host):
            raise InvalidRequestError(
                f"On {self.host} everybody who reaches this machine could use the local renderer.",
                next_step=f"Set {KEY_VARIABLE}, and give its clients that as their API key; or "
                "leave --host out: then this machine alone reaches it.",
            )
        if self.dialect not in DIALECTS:
            known = ", ".join(DIALECTS)
            raise ValueError(f"there is no dialect {self.dialect!r}; there are {known}")

    @property
    def ttl_seconds(self) -> float:
        """How long a finished video is kept."""
        if self.ttl is not None:
            return self.ttl
        if self.dialect in _IN_MEMORY:
            return 10 * 365 * 24 * _HOUR
        return _KEPT_SECONDS.get(self.dialect, _HOUR)

    @property
    def webhook_scheme(self) -> Literal["standard", "openrouter"] | None:
        """How webhooks are signed; None for a server that sends none."""
        return SIGNING.get(self.dialect)

    def pace_seconds(self, video_seconds: int) -> float:
        """How long a job of so many seconds takes at least."""
        simulated = video_seconds * 10 / self.speed if self.speed else 0.0
        return max(simulated, self.min_render_seconds)

    def arguments(self) -> list[str]:
        """Command-line switches that make the same options, the key left out."""
        words: list[str] = []
        for option in fields(self):
            value = getattr(self, option.name)
            if option.name in ("api_key", "webhook_secret") or value == option.default:
                continue
            words.append("--" + option.name.replace("_", "-"))
            if value is not True:
                words.append(str(value))
        return words


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


ON_DEMAND = RendererOptions(idle_exit=900.0)
"""Options of a renderer that was started on demand: it ends by itself when nothing needs it."""
