"""Types that describe how a peer is run: its commands, and the doors by which visitors reach its tunnels."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.bench.procs import free_port


@dataclasses.dataclass(frozen=True, slots=True)
class Command:
    """The command line of a process to start."""

    words: tuple[str, ...]
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Door:
    """The public side of a tunnel: a port of 127.0.0.1, and the Host value that names the tunnel."""

    port: int
    host: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The commands of a peer for a number of tunnels, with configuration written.

    Attributes:
        servers: Commands of the public side, started first.
        clients: Commands of the side beside the upstream, started when the servers listen.
        doors: The door of each tunnel, in order.
        server_port: The port to which clients connect; it accepts connections when the servers are up.
    """

    servers: tuple[Command, ...]
    clients: tuple[Command, ...]
    doors: tuple[Door, ...]
    server_port: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A program that publishes a local port, which the bench measures.

    Attributes:
        make_plan: Writes configuration into a folder, for an upstream's port and a number of tunnels.
        programs: Programs that must be on PATH.
        hint: How to install the programs.
        note: What a reader of the figures must know about this peer.
        can_multiply: Whether one server has many tunnels; otherwise memory per tunnel cannot be measured.
    """

    name: str
    make_plan: Callable[[Path, int, int], Plan]
    programs: tuple[str, ...]
    hint: str
    note: str
    can_multiply: bool = True


def local_doors(count: int) -> tuple[Door, ...]:
    """Return doors on different ports, for peers that forward TCP and know no Host."""
    return tuple(Door(port, f"127.0.0.1:{port}") for port in (free_port() for _ in range(count)))


def write(folder: Path, name: str, text: str) -> str:
    """Write a configuration file. Returns its path as text, for a command line."""
    path = folder / name
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def is_root() -> bool:
    """Whether the bench runs as root, under which nginx and sshd behave differently."""
    return os.geteuid() == 0
