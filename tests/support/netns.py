"""A network of its own for a test: public-looking names and addresses, and ports such as 443 that are taken by nobody.

Linux network namespaces, made with iproute2's `ip netns`; only root may. Nothing outside can be reached from inside.
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
"""Where `ip netns exec` looks for the files that take the place of those in /etc."""


class Network:
    """See the module.

    Attributes:
        name: The namespace's.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._fork_server: ForkServer | None = None

    def inside(self, *args: str) -> list[str]:
        """The command line that runs a command in this network."""
        return [require_tool("ip", "iproute2"), "netns", "exec", self.name, *args]

    def child(self, what: str, *args: str, env: Mapping[str, str] | None = None) -> Child:
        """A process in this network."""
        return Child(what, self.inside(*args), env=env)

    def python(self, what: str, module: str, *args: str) -> Child:
        """`python -m module args...` in this network."""
        self._fork_server = self._fork_server or ForkServer(environment({}), self.inside())
        return Child(what, [module, *args], forked=self._fork_server.start(module, args, environment({})))

    def stop(self) -> None:
        """End what starts programs; the programs go on."""
        if self._fork_server is not None:
            self._fork_server.stop()

    def wrapper(self, folder: Path, command: str) -> Path:
        """A script that runs a command in this network, for who wants a single path."""
        script = folder / Path(command).name
        script.write_text(f'#!/bin/sh\nexec {" ".join(self.inside(command))} "$@"\n')
        script.chmod(0o755)
        return script


@contextmanager
def network(addresses: Mapping[str, str]) -> Iterator[Network]:
    """A network in which each name has this address, and this machine has them all.

    The test is skipped (fails in CI) where there can be none.
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
