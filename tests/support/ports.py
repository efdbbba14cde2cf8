"""TCP ports for tests: never a fixed one."""

import asyncio
import random
import socket
from itertools import islice

FIRST_PORT, LAST_PORT = 20000, 32000
"""Below Linux's ephemeral range (32768 up): no outgoing connection can take the port between our look and its use."""

_rng = random.SystemRandom()


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """True when `port` can be bound right now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port for a process that must be told its port, or must come back on the same one after a restart."""
    return next(port for port in iter(lambda: _rng.randrange(FIRST_PORT, LAST_PORT), None) if is_free(port))


def free_ports(count: int) -> list[int]:
    """`count` different free ports."""
    return list(islice({free_port() for _ in range(count * 4)}, count))


def free_port_near(wanted: int) -> int:
    """`wanted` itself when nobody has it, else any free port."""
    return wanted if is_free(wanted) else free_port()


def stop_listening(server: asyncio.Server) -> None:
    """Accept no more connections, ahead of `Server.close`.

    asyncio never closes a connection that it accepts in the turn in which its server closes. After this call, wait for
    the tasks that accept, and close then.
    """
    loop = server.get_loop()
    for listener in server.sockets:
        loop.remove_reader(listener.fileno())
