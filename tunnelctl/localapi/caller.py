"""Finds out which user of this machine opened a connection to the local API.

A definition can name a directory or a unix socket, which the agent opens with the permissions of its own user. Without
this check any user of the machine could publish files of the agent's user.

Linux lists the owner of every TCP socket in /proc/net. Other systems have no such list, and every caller is unknown.
"""

import asyncio
import ipaddress
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from tunnelctl.localapi.message import Ends

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
ESTABLISHED = "01"
NOT_YOURS = "files and sockets are for the agent's own user, and this request is not known to come from that user"


async def is_own_user(ends: Ends | None) -> bool:
    """Return whether the far end of a connection belongs to the user that runs the agent, or to root."""
    if ends is None or sys.platform != "linux":
        return False
    owner = await asyncio.to_thread(owner_of, ends)
    return owner is not None and owner in (os.geteuid(), 0)


def owner_of(ends: Ends) -> int | None:
    """Return the user id that owns the far end of a connection on this machine; None when it is unknown.

    A socket closed by its process is listed without an inode, and with user 0; it counts as unknown.
    """
    callers, ours = set(_as_listed(ends.peer)), set(_as_listed(ends.local))
    for table in TABLES:
        try:
            lines = table.read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            _, local, remote, state, _, _, _, owner, _, inode, *_ = line.split()
            if local in callers and remote in ours and state == ESTABLISHED and inode != "0":
                return int(owner)
    return None


def _as_listed(end: tuple[str, int]) -> Iterator[str]:
    """Yield an address and port in the form of the kernel's list: 32-bit words in the machine's byte order, in
    hexadecimal.

    An IPv4 address is also given as an IPv4-mapped IPv6 address, which dual-stack clients have.
    """
    host, port = end
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    forms = [address.packed]
    if address.version == 4:
        forms.append(ipaddress.IPv6Address(f"::ffff:{address}").packed)
    for packed in forms:
        words = (int.from_bytes(packed[at : at + 4], sys.byteorder) for at in range(0, len(packed), 4))
        yield f"{''.join(f'{word:08X}' for word in words)}:{port:04X}"
