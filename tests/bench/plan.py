"""What a peer needs to run: its commands, and the doors through which visitors reach its tunnels."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.bench.procs import free_port


@dataclasses.dataclass(frozen=True, slots=True)
class Command:
    """One process to start."""

    words: tuple[str, ...]
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Door:
    """A tunnel's public side: a port of 127.0.0.1 and the Host value that names the tunnel."""

    port: int
    host: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One set-up of a peer, ready to be started.

    Attributes:
        servers: the public side, started first.
        clients: the side beside the upstream, started when the servers listen.
        doors: one per tunnel, in the order of the tunnels.
        server_port: accepts connections as soon as the servers are up; clients dial it.
    """

    servers: tuple[Command, ...]
    clients: tuple[Command, ...]
    doors: tuple[Door, ...]
    server_port: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One way to publish a local port.

    Attributes:
        make_plan: writes configuration into a folder, for an upstream's port and a number of tunnels.
        programs: what must be on PATH.
        hint: where to get them.
        note: what a reader of the figures must know.
        can_multiply: False when one set-up is one tunnel, so that memory per tunnel means nothing.
    """

    name: str
    make_plan: Callable[[Path, int, int], Plan]
    programs: tuple[str, ...]
    hint: str
    note: str
    can_multiply: bool = True


def local_doors(count: int) -> tuple[Door, ...]:
    """Doors told apart by their port, for peers that forward TCP."""
    return tuple(Door(port, f"127.0.0.1:{port}") for port in (free_port() for _ in range(count)))


def write(folder: Path, name: str, text: str) -> str:
    """Writes a configuration file and returns its path as a command's word."""
    path = folder / name
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def is_root() -> bool:
    """Whether the bench runs as root, which nginx and sshd treat apart."""
    return os.geteuid() == 0
