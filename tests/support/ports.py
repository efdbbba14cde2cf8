"""Free TCP ports for tests, so that no test uses a fixed port."""

import asyncio
import random
import socket
from itertools import islice

FIRST_PORT, LAST_PORT = 20000, 32000
"""The range of the ports for tests. It is below Linux's ephemeral ports (32768 up), so that no outgoing connection
takes a port between the check and its use."""

_rng = random.SystemRandom()


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a port can be bound at this moment."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a free port, for a process that must know its port before it starts, or keep it over a restart."""
    return next(port for port in iter(lambda: _rng.randrange(FIRST_PORT, LAST_PORT), None) if is_free(port))


def free_ports(count: int) -> list[int]:
    """Return `count` different free ports."""
    return list(islice({free_port() for _ in range(count * 4)}, count))


def free_port_near(wanted: int) -> int:
    """Return the wanted port when it is free, otherwise any free port."""
    return wanted if is_free(wanted) else free_port()


def stop_listening(server: asyncio.Server) -> None:
    """Make an asyncio server stop accepting connections, before `Server.close` is called.

    asyncio never closes a connection that it accepts in the same turn of the loop in which the server is closed. So
    call this, wait for the tasks that accept connections, and then close the server.
    """
    loop = server.get_loop()
    for listener in server.sockets:
        loop.remove_reader(listener.fileno())
