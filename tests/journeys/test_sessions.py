"""Sessions at two relays on one database, with a provider whose refresh tokens rotate: which end, and which go on."""

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import pytest

from tests.support import processes
from tests.support.app_routes import SECRET, sample_app
from tests.support.idp import USERS, Provider, node_provider
from tests.support.raw_http import RawConnection, connect, request_bytes
from tests.support.stack import Stack, Tunnel, stacked, until
from tests.support.visitor import Visitor

RECHECK = 3
"""Seconds: far longer than a request takes, or its refreshes could not be counted."""


@dataclass(frozen=True)
class Place:
    """Two relays on one data directory, each with an agent for the same name."""

    stacks: tuple[Stack, Stack]
    tunnels: tuple[Tunnel, Tunnel]
    idp: Provider

    def revoke(self, *args: str) -> str:
        """`tunnelrelay session revoke ...`, and what it said."""
        child = processes.run("tunnelrelay", "session", "revoke", *args, f"--data-dir={self.stacks[0].data_dir}")
        assert child.returncode == 0, child.output
        return child.output

    def opened(self, visitor: Visitor) -> list[tuple[str, str]]:
        """Fields of a request with the visitor's session."""
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in visitor.client.cookies.jar)
        return [("Cookie", cookies)]

    def refreshes(self) -> list[int]:
        """How the token endpoint answered refreshes, in order."""
        return [call["status"] for call in self.idp.calls("/token") if call["grant_type"] == "refresh_token"]

    def statuses(self, visitor: Visitor) -> list[int]:
        """What the visitor gets at each relay."""
        return [visitor.get(tunnel.url).status_code for tunnel in self.tunnels]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with ExitStack() as held:
        first = held.enter_context(stacked(tmp_path_factory.mktemp("relays")))
        second = held.enter_context(stacked(first.data_dir))
        idp = held.enter_context(node_provider([first.redirect_uri, second.redirect_uri], refresh="always"))
        app = held.enter_context(sample_app())
        flags = ["--subdomain=demo", "--oidc-allow-group=staff", f"--oidc-userinfo-refresh-interval={RECHECK}s"]
        tunnels = tuple(stack.tunnel(app.port, *flags, *idp.flags, "--oidc-scope=groups") for stack in (first, second))
        yield Place((first, second), tunnels, idp)


async def stream(place: Place, visitor: Visitor, connection: RawConnection, at: int) -> None:
    """An event stream at one of the relays, with its first event read."""
    host, fields = place.tunnels[at].host_and_port, place.opened(visitor)
    await connection.send(request_bytes("GET", "/events", host=host, fields=fields))
    assert (await connection.head()).status == 200
    assert b"data: first" in await connection.read(len(b"d\r\ndata: first\n\n\r\n"))


async def websocket(place: Place, visitor: Visitor, connection: RawConnection, at: int) -> None:
    """A connection at one of the relays that was upgraded and echoes."""
    fields = [*place.opened(visitor), ("Connection", "Upgrade"), ("Upgrade", "echo")]
    fields.append(("Origin", place.tunnels[at].url.rstrip("/")))
    await connection.send(
        request_bytes("GET", "/upgrade", host=place.tunnels[at].host_and_port, fields=fields),
    )
    assert (await connection.head()).status == 101
    await connection.send(b"hello")
    assert await connection.read(5) == b"hello"


async def is_closed(connection: RawConnection) -> bool:
    """True once the relay has closed it; not before."""
    with suppress(ConnectionError):
        await connection.rest()
    return True


@pytest.mark.parametrize("is_told", [True, False])
async def test_row74_a_command_ends_what_is_open_at_every_relay(place: Place, is_told: bool) -> None:
    """Rows 74, 115."""
    with Visitor() as alice:
        assert SECRET in alice.login(place.tunnels[0].url, "alice").text
        assert place.statuses(alice) == [200, 200]
        async with connect(place.stacks[0].port) as events, connect(place.stacks[1].port) as socket:
            await stream(place, alice, events, at=0)
            await websocket(place, alice, socket, at=1)
            if not is_told:
                for file in place.stacks[0].data_dir.glob("control*.sock"):
                    file.unlink()

            said = place.revoke("--user", "alice@example.com")

            assert ("what they had open is closed" in said) is is_told
            assert await is_closed(events)
            assert await is_closed(socket)
        assert place.statuses(alice) == [401, 401]
        assert SECRET in alice.login(place.tunnels[1].url, "alice").text  # the provider still lets her in


@pytest.mark.long
def test_row63_rotating_tokens_are_refreshed_once_for_two_relays_and_a_lost_group_ends_the_session(
    place: Place,
) -> None:
    """Rows 22, 63."""
    with Visitor() as alice:
        alice.login(place.tunnels[0].url, "alice")
        before = len(place.refreshes())

        def refreshed(times: int) -> bool:
            assert place.statuses(alice) == [200, 200]
            return len(place.refreshes()) >= before + times

        until(lambda: refreshed(2), "two refreshes", timeout=6 * RECHECK)
        assert set(place.refreshes()) == {200}
        assert len(place.refreshes()) == before + 2

        place.idp.control(users={"alice": {**USERS["alice"], "groups": []}})
        try:
            until(lambda: place.statuses(alice) == [401, 401], "the session to end", timeout=6 * RECHECK)
        finally:
            place.idp.control(users={"alice": dict(USERS["alice"])})
        assert set(place.refreshes()) == {200}
