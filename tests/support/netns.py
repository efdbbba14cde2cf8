"""Network namespaces for tests: with public-looking names and addresses, and with all ports free, such as 443.

They are made by iproute2's `ip netns`, which needs root. Nothing outside can be reached from inside.
"""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.forkserver import ForkServer
from tests.support.processes import Child, environment
from tests.support.tools import missing, require_tool

ETC = Path("/etc/netns")
"""Folder in which `ip netns exec` finds files that replace those in /etc."""


class Network:
    """A network namespace in which a test runs commands.

    Attributes:
        name: The name of the namespace.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._fork_server: ForkServer | None = None

    def inside(self, *args: str) -> list[str]:
        """Return the command line that runs a command in this network."""
        return [require_tool("ip", "iproute2"), "netns", "exec", self.name, *args]

    def child(self, what: str, *args: str, env: Mapping[str, str] | None = None) -> Child:
        """Start a command in this network."""
        return Child(what, self.inside(*args), env=env)

    def python(self, what: str, module: str, *args: str) -> Child:
        """Start `python -m module args...` in this network."""
        self._fork_server = self._fork_server or ForkServer(environment({}), self.inside())
        return Child(what, [module, *args], forked=self._fork_server.start(module, args, environment({})))

    def stop(self) -> None:
        """End the network's fork server; programs that it has started go on."""
        if self._fork_server is not None:
            self._fork_server.stop()

    def wrapper(self, folder: Path, command: str) -> Path:
        """Write a script that runs a command in this network, for programs that need one path. Returns the path."""
        script = folder / Path(command).name
        script.write_text(f'#!/bin/sh\nexec {" ".join(self.inside(command))} "$@"\n')
        script.chmod(0o755)
        return script


@contextmanager
def network(addresses: Mapping[str, str]) -> Iterator[Network]:
    """Context manager: a network namespace in which names have these addresses, all of them this machine's.

    Without namespaces on this machine the test is skipped; in CI it fails.
    """
    ip = require_tool("ip", "iproute2")
    if os.geteuid() != 0:
        missing("network namespaces need root: run this test as root")
    name = f"tunnelctl-{secrets.token_hex(4)}"
    made = subprocess.run([ip, "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        missing(f"this machine makes no network namespaces: {made.stderr.strip()}")
    found = Network(name)
    try:
        for command in (
            ["ip", "link", "set", "lo", "up"],
            *(["ip", "address", "add", f"{address}/32", "dev", "lo"] for address in sorted(set(addresses.values()))),
        ):
            subprocess.run(found.inside(*command), check=True, capture_output=True)
        (ETC / name).mkdir(parents=True)
        lines = ["127.0.0.1 localhost", *(f"{address} {host}" for host, address in addresses.items())]
        (ETC / name / "hosts").write_text("\n".join(lines) + "\n")
        yield found
    finally:
        found.stop()
        shutil.rmtree(ETC / name, ignore_errors=True)
        subprocess.run([ip, "netns", "delete", name], check=False, capture_output=True)
