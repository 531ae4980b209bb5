"""Accounts: who asked is recognised again, and no record gives the key away."""

import pytest
from pydantic import SecretStr

from prefect_sora.renders.recovery.sweep import client_among
from prefect_sora.renders.submit.prepare import identify
from prefect_sora.servers.access.tokens import entra_tokens
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import Server, azure_server, remote
from prefect_sora.store.ledger import Ledger
from tests.support.renders import clip, go, left_in_doubt
from tests.support.scripted import Jobs, Script

URL = "https://videos.example/v1"
AZURE_URL = "https://resource.openai.azure.com"
ALICE, BOB = SecretStr("sk-alice-canary"), SecretStr("sk-bob-canary")

NONE = SecretStr("none")


@pytest.mark.parametrize(
    ("wrote", "asks", "same"),
    [
        pytest.param(remote(URL, api_key=ALICE), remote(URL, api_key=ALICE), True, id="one key"),
        pytest.param(remote(URL, api_key=ALICE), remote(URL, api_key=BOB), False, id="two keys"),
        pytest.param(remote(URL), remote(URL), True, id="no key on both sides"),
        pytest.param(remote(URL), remote(URL, api_key=NONE), True, id="the word for no key"),
        pytest.param(remote(URL), remote(URL, api_key=BOB), False, id="none, then a key"),
        pytest.param(remote(URL, api_key=BOB), remote(URL), False, id="a key, then none"),
        pytest.param(
            remote(f"{URL}?key=alice"), remote(f"{URL}?key=bob"), False, id="keys in the query"
        ),
        pytest.param(
            remote(f"{URL}?api-version=1", api_key=ALICE),
            remote(f"{URL}?api-version=2", api_key=ALICE),
            True,
            id="a version is no account",
        ),
        pytest.param(
            azure_server(AZURE_URL, api_key=ALICE),
            azure_server(AZURE_URL, api_key=BOB),
            True,
            id="the two keys of a resource",
        ),
    ],
)
def test_who_asked_is_recognised_again(wrote: Server, asks: Server, same: bool) -> None:
    assert asks.is_account(wrote.account) is same


@pytest.mark.parametrize("stored", [None, "", "argon$1$2", "scrypt$$", "scrypt"])
def test_what_an_older_or_a_later_version_wrote_is_not_known(stored: str | None) -> None:
    assert remote(URL, api_key=ALICE).is_account(stored) is None


def test_a_token_does_not_tell_who_asks_but_on_azure_the_resource_does() -> None:
    token = entra_tokens()
    assert remote(URL, token=token).account is None
    assert remote(URL, token=token).is_account(remote(URL, api_key=ALICE).account) is None
    keyed = azure_server(AZURE_URL, api_key=ALICE)
    assert azure_server(AZURE_URL, token=token).is_account(keyed.account) is True


def test_two_servers_with_one_key_do_not_look_like_it() -> None:
    there = remote("https://elsewhere.example/v1", api_key=ALICE)
    assert remote(URL, api_key=ALICE).account != there.account


async def test_a_reservation_says_who_asks_and_holds_no_key(scripted: Script, disk: Ledger) -> None:
    server, client = scripted(Jobs(lose=0), api_key=ALICE)
    job = await go(client, disk)
    reserved = await disk.reservation(job.folder, 1)
    assert reserved is not None
    assert client.server.is_account(reserved.account) is True
    assert remote(server.base_url, api_key=BOB).is_account(reserved.account) is False
    assert ALICE.get_secret_value() not in reserved.model_dump_json()


async def test_while_a_doubt_lasts_its_account_is_the_one_that_was_asked(
    scripted: Script, disk: Ledger
) -> None:
    # A second account looks for what the first may have had accepted, and dies looking.
    server, client = scripted(Jobs(lose=0), api_key=BOB)
    alice = remote(server.base_url, api_key=ALICE).account
    folder = await left_in_doubt(client, disk, account=alice)
    state = await disk.state(folder)
    prepared_of_bob = await identify(clip(), client, "tonight")
    assert state.reserved is not None
    second = prepared_of_bob.reservation(client.server, 2, state.reserved.at, state.reserved)
    assert client.server.is_account(second.account) is False


async def test_of_two_accounts_on_one_server_the_one_that_sent_it_brings_it_home(
    scripted: Script, disk: Ledger
) -> None:
    server, alice = scripted(Jobs(lose=0), api_key=ALICE)
    bob, unsaid = (VideoClient(remote(server.base_url, api_key=key)) for key in (BOB, None))
    job = await go(alice, disk)
    state = await disk.state(job.folder)
    assert await client_among([bob, unsaid, alice], state) is alice
    assert await client_among([bob, unsaid], state) is bob  # of neither; the first is as good
    for client in (bob, unsaid):
        await client.close()


async def test_one_process_pays_for_one_digest(scripted: Script) -> None:
    _, client = scripted(Jobs(lose=0), api_key=ALICE)
    assert len({client.server.account for _ in range(10_000)}) == 1
