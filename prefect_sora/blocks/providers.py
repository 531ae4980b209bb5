"""Providers: who renders, as blocks: any server of the protocol, Azure's, the local renderer."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from prefect.blocks.core import Block
from prefect.types import SecretDict
from pydantic import Field, SecretStr

from prefect_sora.blocks.addresses import QUERY, take_secrets, with_secrets
from prefect_sora.errors import InvalidRequestError
from prefect_sora.errors.redaction import usable
from prefect_sora.servers.access.tokens import entra_tokens, given_token
from prefect_sora.servers.access.webhooks import URL_VARIABLE, Webhooks
from prefect_sora.servers.local import ensure_running
from prefect_sora.servers.profiles import AUTO, HOSTED
from prefect_sora.servers.profiles import Name as ProfileName
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.connections import connect
from prefect_sora.servers.protocol.detect import profile_of, recognised
from prefect_sora.servers.server import Server, azure_server, local_server, remote
from prefect_sora.servers.video_prices import PriceList, read_prices

DOCS: Final = "https://docs.prefect.io/integrations/"
_OPENAI_LOGO: Final = (
    "https://cdn.sanity.io/images/3ugk85nk/production/"
    "760539393a7dbf93a143fb01c2a8b0fe7157a8d8-247x250.png"
)
FOLDER_LOGO: Final = (
    "https://raw.githubusercontent.com/PrefectHQ/prefect/"
    "420d0d6a78bb6df1fc18bcf188fdad43c1d22ea9/assets/block-logos/filesystem.png"
)


class _Connects:
    """What renders: anything that gives a client of a video server."""

    async def describe(self) -> Server:
        """Describe the server as it stands here, asking it nothing.

        Its profile may be `auto`, so what it can do is not known; its name, its account
        and the keys of what is rendered there are.
        """
        raise AssertionError("each provider says it")

    async def get_server(self) -> Server:
        """Describe the server: its address, its account, what it can do."""
        return await self.describe()

    async def get_client(self) -> VideoClient:
        """Connect: one client per server and event loop, shared and closed with it.

        Raises:
            InvalidRequestError: The address is not one that requests can go to.
        """
        return connect(await self.get_server())


class OpenAICredentials(_Connects, Block):
    """A server that speaks OpenAI's video protocol, and the key to it.

    Example:
        Load the saved server and render on it:
        ```python
        import asyncio

        from prefect_sora import OpenAICredentials, text_to_video

        # In a script:
        provider = OpenAICredentials.load("BLOCK_NAME")
        asyncio.run(text_to_video("a red kite over a park", provider=provider, store="s3://clips"))

        # In async code:
        provider = await OpenAICredentials.aload("BLOCK_NAME")
        await text_to_video("a red kite over a park", provider=provider, store="s3://clips")
        ```
    """

    _block_type_name = "Sora OpenAI Credentials"
    _block_type_slug = "sora-openai-credentials"
    _logo_url = _OPENAI_LOGO  # type: ignore[assignment]  # Prefect's own blocks give a str, too
    _documentation_url = DOCS  # type: ignore[assignment]  # the same

    base_url: str = Field(
        title="Base URL",
        description="Where the server answers, up to and with /v1: OpenAI's form of address. In "
        "code it may be left out for openrouter, together and xai, whose profile knows it.",
        examples=["http://127.0.0.1:30010/v1"],
    )
    api_key: SecretStr | None = Field(
        default=None, title="API key", description="The server's key; none where it asks for none."
    )
    organization: str | None = Field(
        default=None, description="OpenAI organization that the requests are counted to."
    )
    project: str | None = Field(
        default=None, description="OpenAI project that the requests are counted to."
    )
    webhook_secret: SecretStr | None = Field(
        default=None,
        title="Webhook secret",
        description="Signing secret of the server's webhooks, whsec_ and what follows; while it is "
        "replaced, the old and the new one with a space between.",
    )
    webhook_url: str | None = Field(
        default=None,
        title="Webhook URL",
        description="Where the server reaches `prefect-sora webhooks`; without it "
        "PREFECT_SORA_WEBHOOK_URL, if that is set.",
        examples=["https://hooks.example.com/webhooks"],
    )
    profile: ProfileName | str | dict[str, Any] = Field(
        default="auto",
        description="What the server can do: the name of its kind; auto, which asks it; the path "
        "or URL of a file that says it; or what differs from a kind, as in "
        '{"base": "generic", "can_list": false}.',
    )
    query: SecretDict | None = QUERY
    prices: PriceList = None

    def __init__(self, **fields: Any) -> None:
        take_secrets(fields, "base_url")
        if not fields.get("base_url") and (at := _known_address(fields.get("profile"))):
            fields["base_url"] = at
        super().__init__(**fields)

    async def describe(self) -> Server:
        """Describe the server; what it can do is not looked up."""
        webhook_url = self.webhook_url or os.environ.get(URL_VARIABLE)
        described = remote(
            with_secrets(self.base_url, self.query),
            api_key=usable(self.api_key, "api_key"),
            organization=self.organization,
            project=self.project,
            profile=AUTO,
            prices=read_prices(self.prices),
        )
        return replace(described, webhooks=Webhooks.of(webhook_url, self.webhook_secret))

    async def get_server(self) -> Server:
        """Describe the server, which is asked what it can do where its profile is `auto`."""
        described = replace(await self.describe(), profile=await profile_of(self.profile))
        return await recognised(described)


def _known_address(profile: object) -> str | None:
    """Where a hosted server answers, by its profile; None where that is not the same for all."""
    name = profile.get("base") if isinstance(profile, dict) else profile
    return HOSTED[name].base_url if isinstance(name, str) and name in HOSTED else None


class AzureOpenAICredentials(_Connects, Block):
    """A video model deployed on Azure OpenAI, or behind a gateway of its shape.

    Example:
        Load the saved deployment and render on it:
        ```python
        import asyncio

        from prefect_sora import AzureOpenAICredentials, text_to_video

        # In a script:
        provider = AzureOpenAICredentials.load("BLOCK_NAME")
        asyncio.run(text_to_video("a red kite over a park", provider=provider, store="abfs://clips"))

        # In async code:
        provider = await AzureOpenAICredentials.aload("BLOCK_NAME")
        await text_to_video("a red kite over a park", provider=provider, store="abfs://clips")
        ```
    """

    _block_type_name = "Sora Azure OpenAI Credentials"
    _block_type_slug = "sora-azure-openai-credentials"
    _logo_url = _OPENAI_LOGO  # type: ignore[assignment]  # Prefect's own blocks give a str, too
    _documentation_url = DOCS  # type: ignore[assignment]  # the same

    endpoint: str = Field(
        description="The resource's URL, with or without what follows it: /openai/v1, "
        "/openai/deployments/NAME, ?api-version=.",
        examples=["https://my-resource.openai.azure.com"],
    )
    deployment: str | None = Field(
        default=None,
        description="Name of the video model's deployment; stands in for the model's name.",
    )
    image_deployment: str | None = Field(
        default=None,
        title="Image deployment",
        description="Name of the image model's deployment; without it a picture's model is sent as "
        "the deployment's name.",
    )
    api_key: SecretStr | None = Field(
        default=None, title="API key", description="One of the resource's two keys."
    )
    entra_id: bool = Field(
        default=False,
        title="Entra ID",
        description="Sign in as azure-identity finds it here (the environment, a managed identity, "
        "the Azure CLI), in place of a key; needs prefect-sora[azure].",
    )
    azure_ad_token: SecretStr | None = Field(
        default=None,
        title="Entra ID token",
        description="A token that was fetched elsewhere, in place of a key; good for an hour.",
    )
    api_version: str | None = Field(
        default=None,
        title="API version",
        description="Sent as api-version; where this is empty, the one in the endpoint's URL, "
        "unless it is a date and Azure itself is asked, whose v1 API takes none.",
    )
    query: SecretDict | None = QUERY
    prices: PriceList = None

    def __init__(self, **fields: Any) -> None:
        take_secrets(fields, "endpoint")
        super().__init__(**fields)

    async def describe(self) -> Server:
        """Describe the server."""
        api_key = usable(self.api_key, "api_key")
        token = usable(self.azure_ad_token, "azure_ad_token")
        ways = {"api_key": api_key, "azure_ad_token": token, "entra_id": self.entra_id or None}
        given = [name for name, value in ways.items() if value is not None]
        if len(given) > 1:
            raise InvalidRequestError(
                f"Both {' and '.join(given)} are given.", next_step="Give one: each says who asks."
            )
        fetched = given_token(token.get_secret_value().strip()) if token else None
        return azure_server(
            with_secrets(self.endpoint, self.query),
            deployment=self.deployment,
            image_deployment=self.image_deployment,
            api_key=api_key,
            token=entra_tokens() if self.entra_id else fetched,
            api_version=self.api_version,
            prices=read_prices(self.prices),
        )


class LocalRenderer(_Connects, Block):
    """The embedded renderer: a process on this machine that makes real MP4 files for nothing.

    It starts when it is first asked, is found again when it runs, and ends by
    itself when nobody has asked it for a quarter of an hour.

    Example:
        Load the saved renderer and render on it:
        ```python
        import asyncio

        from prefect_sora import LocalRenderer, text_to_video

        # In a script:
        provider = LocalRenderer.load("BLOCK_NAME")
        asyncio.run(text_to_video("a red kite over a park", provider=provider, store="./renders"))

        # In async code:
        provider = await LocalRenderer.aload("BLOCK_NAME")
        await text_to_video("a red kite over a park", provider=provider, store="./renders")
        ```
    """

    _block_type_name = "Sora Local Renderer"
    _block_type_slug = "sora-local-renderer"
    _logo_url = FOLDER_LOGO  # type: ignore[assignment]  # Prefect's own blocks give a str, too
    _documentation_url = DOCS  # type: ignore[assignment]  # the same

    folder: str = Field(
        description="Where the renderer keeps its jobs; made if missing.",
        examples=["~/.prefect-sora/renderer"],
    )

    def __init__(self, **fields: Any) -> None:
        if isinstance(fields.get("folder"), Path):
            fields["folder"] = str(fields["folder"])
        super().__init__(**fields)

    async def describe(self) -> Server:
        """Start the renderer, unless it runs, and describe it."""
        return local_server(await asyncio.to_thread(ensure_running, self.folder))
