"""Who answers `/v1/videos`: address, credentials and what it can do, as one frozen value."""

import json
import os
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import urlsplit

from pydantic import SecretStr

from prefect_sora.errors.redaction import without
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.access import accounts
from prefect_sora.servers.access.addresses import azure_address, clean_url, is_azures
from prefect_sora.servers.access.tokens import TokenSource
from prefect_sora.servers.access.webhooks import Webhooks
from prefect_sora.servers.costs.catalogue import Offer, known, wanted_of
from prefect_sora.servers.costs.pricing_keys import Wanted
from prefect_sora.servers.local.launch.address import RendererAddress
from prefect_sora.servers.local.launch.options import KEY_VARIABLE
from prefect_sora.servers.profiles import AZURE, GENERIC, LOCAL, OPENAI, PROFILES, Profile, Service
from prefect_sora.servers.video_models import find
from prefect_sora.servers.video_prices import ANY, Prices, usd_per_second


@dataclass(frozen=True)
class Server:
    """One video server, as one account sees it.

    Attributes:
        base_url: Where `/videos` hangs, without a slash at its end.
        identity: What makes two servers the same one. It stands in every render's
            key, so it names no port that changes and no key that is rotated.
        label: A short name of it for people, on every result.
        api_key: Its key; None where it asks for none.
        auth: `bearer` in the Authorization header, or the `api-key` header.
        query: Sent with every request, such as Azure's api-version; a gateway's key, too.
        deployment: Azure's name for the video model, sent in the model's place.
        image_deployment: The same for the image model.
        local: The local renderer is the server, so a render costs nothing.
        prices: Its own prices, in place of the published ones.
        token: Gives bearer tokens, in place of a key.
        webhooks: Where it tells of a job's end, and how that is signed.

    Raises:
        InvalidRequestError: No header can carry the key or the account.
    """

    base_url: str
    identity: str
    label: str
    api_key: SecretStr | None = None
    auth: Literal["bearer", "api-key"] = "bearer"
    organization: str | None = None
    project: str | None = None
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    deployment: str | None = None
    image_deployment: str | None = None
    profile: Profile = field(default=GENERIC)
    local: bool = False
    prices: Prices = ()
    token: TokenSource | None = None
    webhooks: Webhooks | None = None

    def __post_init__(self) -> None:
        """Refuse what the HTTP library cannot send: its errors and logs would quote the text."""
        key = self.api_key.get_secret_value() if self.api_key else None
        accounts.check_sendable(api_key=key, organization=self.organization, project=self.project)

    @property
    def service(self) -> Service | None:
        """`openai` or `azure` where this is that service."""
        own = urlsplit(self.base_url).hostname == "api.openai.com"
        return "openai" if own else "azure" if is_azures(self.base_url) else None

    @property
    def ends_models(self) -> Service | None:
        """The service whose ends of models count: none where a deployment decides the model."""
        return None if self.deployment else self.service

    @property
    def for_pictures(self) -> "Server":
        """The same server as one that draws: the image model's deployment is its deployment."""
        named, own = self.image_deployment, self.identity
        own += f"#{named}" if named else ""
        return replace(self, identity=own, deployment=named, image_deployment=None)

    @property
    def by_address(self) -> Profile | None:
        """The profile that its address alone tells."""
        if self.service:
            return {"openai": OPENAI, "azure": AZURE}[self.service]
        host = urlsplit(self.base_url).hostname
        at = (p for p in PROFILES.values() if urlsplit(p.base_url or "").hostname == host)
        return next(at, None)

    @property
    def credentials(self) -> dict[str, str]:
        """The headers that say who asks; none where no key is needed."""
        account = {"OpenAI-Organization": self.organization, "OpenAI-Project": self.project}
        headers = {name: value for name, value in account.items() if value}
        if self.api_key:
            key = self.api_key.get_secret_value()
            bearer = self.auth == "bearer"
            headers |= {"Authorization": f"Bearer {key}"} if bearer else {"api-key": key}
        return headers

    @property
    def account(self) -> str | None:
        """What a record may say of who asks: no key, but a text that `is_account` recognises.

        None for a token: its text changes, and its owner may change with the machine.
        """
        if self._has_one_account:
            return accounts.NO_KEY
        if self.token is not None:
            return None
        return accounts.written_down(self._asking)

    def is_account(self, stored: str | None) -> bool | None:
        """Whether a record was made by the account that asks here, on this address.

        Args:
            stored: The record's `account`.

        Returns:
            True for the same account, False for another, which has a list of its own, and
            None where nobody can tell: an older record, or a token.
        """
        if self._has_one_account:
            return True
        if self.token is not None or stored is None:
            return None
        return accounts.is_same(stored, self._asking)

    @property
    def _has_one_account(self) -> bool:
        """Whether all keys see one list: an Azure resource has two, and tokens, for one list."""
        return self.local or self.service == "azure"

    @property
    def _asking(self) -> bytes:
        """What says who asks; empty where nothing does."""
        # It names the address, so that no record tells that two servers have one key.
        key = self.api_key.get_secret_value() if self.api_key else ""
        # `none` is what clients send to a server that asks for no key.
        key = "" if key.lower() == "none" else key
        query = [[name, value] for name, value in self.query if name != "api-version"]
        return json.dumps([self.identity, key, query]).encode() if key or query else b""

    @property
    def renewable(self) -> TokenSource | None:
        """What gives another token where one is refused."""
        return self.token if self.token and self.token.renews else None

    async def authorisation(self) -> dict[str, str]:
        """Give the `credentials`, with a token that is good now where there are tokens.

        Raises:
            AuthenticationError: None is to be had.
        """
        if self.token is None:
            return self.credentials
        return {**self.credentials, "Authorization": f"Bearer {await self.token.get()}"}

    def offer(self, model: str | None) -> Offer | None:
        """What the server's own catalogue says of a model, unless it has a price of one's own."""
        catalogue = known(self.base_url) if self.profile.catalog_path else None
        own = {name for name, _, _ in self.prices}
        return catalogue.offers.get(model or "") if catalogue and not own & {model, ANY} else None

    def cost_usd(
        self,
        model: str | None,
        size: str | None,
        seconds: float | None,
        request: VideoRequest | None = None,
    ) -> float | None:
        """Price so many seconds of video in USD; None where the price is not known.

        A deployment's price stands under its own name or under the model's. A request's pictures
        and sound may have a price, too.
        """
        if self.local:
            return 0.0
        if offer := self.offer(model):
            wanted = wanted_of(request) if request else Wanted(size, seconds)
            return offer.usd(replace(wanted, size=size, seconds=seconds))[0]
        names = (self.deployment, self.model_for(model))
        # What a model cost at its own service is not what a server with a catalogue asks for it.
        price = usd_per_second(
            names, size, self.prices, published=self.profile.catalog_path is None
        )
        if not price:
            return price  # what costs nothing costs nothing at any length
        return None if seconds is None else round(price * seconds, 6)

    def model_for(self, name: str | None) -> str | None:
        """Return the model's name to send to this server; None: none is sent.

        Flows name a Sora model where nobody names another, which a server with a model of its own
        may refuse. A vendor's prefix is left out where a server's own names have none.
        """
        if name is None or (self.profile.own_model and find(name) and "/" not in name):
            return None
        bare = name.rpartition("/")[2]
        return bare if not self.profile.names(name) and self.profile.names(bare) else name

    def redacted(self, text: str) -> str:
        """Blank out the key, the token and the query's secrets in what somebody else wrote."""
        secrets = [value for name, value in self.query if name != "api-version"]
        secrets += [self.api_key.get_secret_value()] if self.api_key else []
        secrets += [self.token.current] if self.token and self.token.current else []
        return without(sorted(filter(None, secrets), key=len, reverse=True), text)


def remote(
    base_url: str,
    *,
    api_key: SecretStr | None = None,
    organization: str | None = None,
    project: str | None = None,
    profile: Profile = GENERIC,
    auth: Literal["bearer", "api-key"] = "bearer",
    query: tuple[tuple[str, str], ...] = (),
    deployment: str | None = None,
    image_deployment: str | None = None,
    prices: Prices = (),
    token: TokenSource | None = None,
) -> Server:
    """Describe a server by its URL.

    Raises:
        InvalidRequestError: The URL is not one that requests can go to, or no header
            can carry the key.
    """
    url, in_url = clean_url(base_url)
    account = "".join(f"#{part}" for part in (organization, project, deployment) if part)
    return Server(
        base_url=url,
        identity=url + account,
        label=url.partition("://")[2] + account,
        api_key=_stripped(api_key),
        auth=auth,
        organization=organization,
        project=project,
        query=query or in_url,
        deployment=deployment,
        image_deployment=image_deployment,
        profile=profile,
        prices=prices,
        token=token,
    )


def azure_server(
    endpoint: str,
    *,
    deployment: str | None = None,
    image_deployment: str | None = None,
    api_key: SecretStr | None = None,
    api_version: str | None = None,
    prices: Prices = (),
    token: TokenSource | None = None,
) -> Server:
    """Describe deployments on Azure OpenAI, or behind a gateway of its shape.

    Args:
        endpoint: The resource's URL, in any form that `azure_address` reads.
        deployment: Azure's name for the video model, sent in the model's place.
        image_deployment: The same for the image model.
        api_key: One of the resource's keys.
        api_version: In place of the URL's.
        prices: Its own, by deployment or model.
        token: Gives Entra ID tokens, in place of a key.

    Raises:
        InvalidRequestError: Requests cannot go there, or it says two things at once.
    """
    at = azure_address(endpoint, api_version, deployment, image_deployment)
    return remote(
        at.base_url,
        api_key=api_key,
        profile=AZURE,
        auth="api-key",
        query=at.query,
        deployment=at.deployment,
        image_deployment=at.image_deployment,
        prices=prices,
        token=token,
    )


def local_server(address: RendererAddress) -> Server:
    """Describe a local renderer; its port may change, its identity stays."""
    key = os.environ.get(KEY_VARIABLE)  # the renderer demands the key that it was started with
    return Server(
        base_url=address.base_url,
        identity=f"local:{address.identity}",
        label="local",
        api_key=_stripped(SecretStr(key)) if key else None,
        profile=LOCAL,
        local=True,
        webhooks=Webhooks.of_environment(),
    )


def _stripped(api_key: SecretStr | None) -> SecretStr | None:
    key = api_key.get_secret_value().strip() if api_key else ""
    return SecretStr(key) if key else None
