"""Whose program asks the local API, as the kernel lists it."""

import ctypes
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.every import every
from tunnelctl.localapi import caller
from tunnelctl.localapi.caller import is_own_user, owner_of
from tunnelctl.localapi.message import Ends

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists the owners of sockets")
NOBODY = 65534


@contextmanager
def connected(host: str = "127.0.0.1", to: str | None = None) -> Iterator[tuple[socket.socket, Ends]]:
    """A client's socket, and the ends of its connection as the server sees them."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family, dualstack_ipv6=host == "::") as listener:
        target = to or host
        with socket.socket(socket.AF_INET6 if ":" in target else socket.AF_INET) as client:
            client.connect((target, listener.getsockname()[1]))
            served, peer = listener.accept()
            with served:
                yield client, Ends(peer[:2], served.getsockname()[:2])


@every(
    "host, to",
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "::ffff:127.0.0.1"),
        ("::1", "::1"),
        ("::", "127.0.0.1"),
        ("::", "::1"),
    ],
)
def test_a_program_of_this_user_is_known(host, to):
    with connected(host, to) as (_, ends):
        assert owner_of(ends) == os.geteuid()


async def test_only_the_agents_user_and_root_are_its_own(monkeypatch):
    with connected() as (_, ends):
        assert await is_own_user(ends)
        mine = os.geteuid()
        monkeypatch.setattr("os.geteuid", lambda: mine + 1)
        assert await is_own_user(ends) is (mine == 0)
        monkeypatch.setattr(caller, "owner_of", lambda ends: NOBODY)
        assert not await is_own_user(ends)
        monkeypatch.setattr(caller, "owner_of", lambda ends: None)
        assert not await is_own_user(ends)
        monkeypatch.setattr(sys, "platform", "darwin")
        assert not await is_own_user(ends)
    assert not await is_own_user(None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user for a moment")
def test_a_program_of_another_user_is_another_users():
    set_user = ctypes.CDLL(None).setfsuid  # of this thread alone, for the files and sockets that it opens
    set_user(NOBODY)
    try:
        with connected() as (_, ends):
            assert owner_of(ends) == NOBODY
    finally:
        set_user(0)


def test_a_socket_that_was_closed_is_nobodys():
    """The kernel lists it with user 0."""
    with connected() as (client, ends):
        client.close()
        assert owner_of(ends) is None


def test_a_connection_that_is_not_of_this_machine_is_unknown():
    assert owner_of(Ends(("192.0.2.1", 40000), ("192.0.2.2", 4040))) is None
