"""Runs a relay and agents as real processes, started the way a user starts them."""

import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support import processes
from tests.support.ports import free_port
from tests.support.processes import Child, record_of
from tests.support.waiting import PATIENCE

LOOK_SECONDS = 0.02
"""Seconds between two checks of a port or a counter of another process, for which a test has to poll."""


class Tunnel:
    """A `tunnel http` process whose tunnel has started.

    Attributes:
        host: The tunnel's public host, without a port.
        url: The tunnel's public URL.
    """

    def __init__(self, child: Child, url: str) -> None:
        self.child = child
        self.url = url
        self.host = url.partition("://")[2].partition(":")[0]

    @property
    def host_and_port(self) -> str:
        """The value of `Host` that a browser sends: the public host, with a port that is not the default."""
        return self.url.partition("://")[2].strip("/")


class Stack:
    """A relay process and the agents that a test starts.

    Attributes:
        port: The port that visitors and agents connect to, the same over restarts.
        relay: The relay's process.
        flags: Flags of `tunnelrelay serve`.
    """

    def __init__(self, data_dir: Path, flags: Sequence[str] = ()) -> None:
        self.port = free_port()
        self.admin_port = free_port()
        self.data_dir = data_dir
        self.flags = list(flags)
        self.children: list[Child] = []
        self.start_relay()

    def start_relay(self) -> None:
        """Start the relay, for the first time, or again on the same port and data."""
        self.relay = self._started(
            processes.python(
                "relay",
                "tunnelrelay",
                "serve",
                f"--http=127.0.0.1:{self.port}",
                f"--admin=127.0.0.1:{self.admin_port}",
                f"--data-dir={self.data_dir}",
                "--log-format=json",
                *self.flags,
            )
        )
        until(lambda: is_listening(self.port), "the relay to listen", child=self.relay)

    def admin_link(self) -> str:
        """Return the sign-in link of the first administrator, which the relay has printed at its start."""
        return str(record_of(self.relay.wait_for(lambda line: "/sign-in#code=" in line))["link"])

    def agent(
        self, upstream: int | str, *flags: str, env: Mapping[str, str] | None = None, command: str = "http"
    ) -> Child:
        """Start a `tunnel http` process, or one of another command, without waiting for its tunnel.

        A `--relay` among `flags` replaces that of this relay.
        """
        relay = [] if any(flag.startswith("--relay=") for flag in flags) else [f"--relay=http://127.0.0.1:{self.port}"]
        child = processes.python(
            "agent", "tunnelctl", command, str(upstream), *relay, "--log=stdout", "--log-format=json", *flags, env=env
        )
        return self._started(child)

    def tunnel(
        self, upstream: int | str, *flags: str, env: Mapping[str, str] | None = None, command: str = "http"
    ) -> Tunnel:
        """Start a `tunnel http` process, or one of another command, and wait until its public URL answers."""
        child = self.agent(upstream, *flags, env=env, command=command)
        return Tunnel(child, str(child.wait_for_record("started tunnel")["url"]))

    def tokens(self, *args: str) -> Child:
        """Run `tunnelrelay token ...` on this relay's data to its end."""
        return processes.run("tunnelrelay", "token", *args, f"--data-dir={self.data_dir}")

    def stop(self) -> None:
        """Stop all processes, agents first."""
        for child in reversed(self.children):
            child.stop()

    def _started(self, child: Child) -> Child:
        self.children.append(child)
        return child

    @property
    def redirect_uri(self) -> str:
        """Return the redirect URI of logins at a relay with the domain `localhost`."""
        return f"http://localhost:{self.port}/oauth2/callback"


@contextmanager
def stacked(data_dir: Path, *flags: str) -> Iterator[Stack]:
    """Context manager: a running relay; all processes that were started through it are stopped afterwards."""
    stack = Stack(data_dir, flags)
    try:
        yield stack
    except BaseException:
        for child in stack.children:
            print(child.output)  # pytest shows it with the failure
        raise
    finally:
        stack.stop()


def is_listening(port: int) -> bool:
    """Whether a process accepts connections on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(holds: Callable[[], object], what: str, timeout: float = PATIENCE, child: Child | None = None) -> None:
    """Wait until `holds()` is true.

    Args:
        what: What the test waits for, for the failure message.

    Raises:
        AssertionError: `holds()` is not true after `timeout` seconds, or `child` has ended.
    """
    deadline = time.monotonic() + timeout
    while not holds():
        ended = child is not None and child.returncode is not None
        if ended or time.monotonic() > deadline:
            raise AssertionError(f"waited in vain for {what}\n{child.output if child else ''}")
        time.sleep(LOOK_SECONDS)
