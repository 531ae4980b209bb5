"""Automate: it says what it needs, and asks for no server that is not there."""

from prefect_sora.cli import exits
from tests.cli.conftest import Cli


def test_without_a_prefect_server_nothing_is_set_up(cli: Cli) -> None:
    ended = cli.typed("automate", "--json")

    assert ended.code == exits.USAGE
    assert "PREFECT_API_URL" in ended.json["error"]["next_step"]


def test_a_heartbeat_that_prefect_does_not_take_is_refused(cli: Cli) -> None:
    assert cli("automate", "--heartbeat", "5").code == exits.USAGE
    assert cli("automate", "--runs", "1").code == exits.USAGE


def test_it_is_set_up_once_brought_up_to_date_in_place_and_taken_away(
    cli: Cli, prefect_api: str
) -> None:
    words = ("automate", "--tag", "nobody-has-this", "--json")

    first = cli(*words, PREFECT_API_URL=prefect_api)
    again = cli(*words, PREFECT_API_URL=prefect_api)
    other = cli(*words, "--runs", "6", PREFECT_API_URL=prefect_api)
    told = cli(*words[:-1], PREFECT_API_URL=prefect_api)
    removed = cli(*words, "--remove", PREFECT_API_URL=prefect_api)
    nothing = cli(*words, "--remove", PREFECT_API_URL=prefect_api)

    assert [*first.json["automations"].values()] == ["created"] * 3, first.err
    assert [*again.json["automations"].values()] == ["unchanged"] * 3
    assert [*other.json["automations"].values()] == ["unchanged", "updated", "updated"]
    assert "No deployment has the tag nobody-has-this" in told.err
    assert "prefect_sora.flows.sweep" in told.err
    assert [*removed.json["automations"].values()] == ["removed"] * 3
    assert (nothing.code, nothing.json["automations"]) == (exits.OK, {})
