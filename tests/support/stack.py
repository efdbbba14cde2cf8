"""A relay and agents as real processes, started the way a user starts them."""

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
"""Between two looks at a port or a counter of another process, which cannot wake us."""


class Tunnel:
    """One `tunnel http` process that has said "started tunnel".

    Attributes:
        host: Its public name, as visitors send it in Host (without a port).
        url: Its public address.
    """

    def __init__(self, child: Child, url: str) -> None:
        self.child = child
        self.url = url
        self.host = url.partition("://")[2].partition(":")[0]

    @property
    def host_and_port(self) -> str:
        """What a browser sends as Host."""
        return self.url.partition("://")[2].strip("/")


class Stack:
    """One relay and the tunnels behind it.

    Attributes:
        port: Where visitors and agents connect; kept over restarts.
        relay: The relay's process.
        flags: What `tunnelrelay serve` was started with.
    """

    def __init__(self, data_dir: Path, flags: Sequence[str] = ()) -> None:
        self.port = free_port()
        self.admin_port = free_port()
        self.data_dir = data_dir
        self.flags = list(flags)
        self.children: list[Child] = []
        self.start_relay()

    def start_relay(self) -> None:
        """Starts the relay, for the first time or again on the same port and data."""
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
        """The link that signs the first administrator in, as the relay prints it at its start."""
        return str(record_of(self.relay.wait_for(lambda line: "/sign-in#code=" in line))["link"])

    def agent(
        self, upstream: int | str, *flags: str, env: Mapping[str, str] | None = None, command: str = "http"
    ) -> Child:
        """A `tunnel http` process, not waited for; a `--relay` among `flags` takes the place of this relay's."""
        relay = [] if any(flag.startswith("--relay=") for flag in flags) else [f"--relay=http://127.0.0.1:{self.port}"]
        child = processes.python(
            "agent", "tunnelctl", command, str(upstream), *relay, "--log=stdout", "--log-format=json", *flags, env=env
        )
        return self._started(child)

    def tunnel(
        self, upstream: int | str, *flags: str, env: Mapping[str, str] | None = None, command: str = "http"
    ) -> Tunnel:
        """A `tunnel http` process, or one of another command, whose public address answers."""
        child = self.agent(upstream, *flags, env=env, command=command)
        return Tunnel(child, str(child.wait_for_record("started tunnel")["url"]))

    def tokens(self, *args: str) -> Child:
        """`tunnelrelay token ...` on this relay's data, run to its end."""
        return processes.run("tunnelrelay", "token", *args, f"--data-dir={self.data_dir}")

    def stop(self) -> None:
        """Ends everything, agents first."""
        for child in reversed(self.children):
            child.stop()

    def _started(self, child: Child) -> Child:
        self.children.append(child)
        return child

    @property
    def redirect_uri(self) -> str:
        """Where providers send visitors back to, with the domain `localhost`."""
        return f"http://localhost:{self.port}/oauth2/callback"


@contextmanager
def stacked(data_dir: Path, *flags: str) -> Iterator[Stack]:
    """A running relay, with everything started through it ended afterwards."""
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
    """True when somebody accepts on 127.0.0.1:`port`."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(holds: Callable[[], object], what: str, timeout: float = PATIENCE, child: Child | None = None) -> None:
    """Returns once `holds()` is true.

    Raises:
        AssertionError: It did not come true in `timeout` seconds, or `child` ended first.
    """
    deadline = time.monotonic() + timeout
    while not holds():
        ended = child is not None and child.returncode is not None
        if ended or time.monotonic() > deadline:
            raise AssertionError(f"waited in vain for {what}\n{child.output if child else ''}")
        time.sleep(LOOK_SECONDS)
