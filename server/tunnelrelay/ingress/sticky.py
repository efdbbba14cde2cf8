"""The cookie by which a visitor stays with one of several tunnels, on edges that ask for it.

It only prefers a tunnel: the rules apply as for any visitor, and a value that names no tunnel of the endpoint is
ignored. The value is a keyed digest of the tunnel (`Tunnel.mark`). The
cookie belongs to the relay's family, so that neither the app nor a neighbour's page gets to see or set it over https.
"""

from tunnelctl.http1.head import RequestHead
from tunnelrelay.policy import cookies
from tunnelrelay.registry.tunnel import Tunnel


class Sticky:
    """Reads and writes the cookie that names a visitor's tunnel.

    Args:
        is_secure: Visitors come over https.
    """

    def __init__(self, *, is_secure: bool) -> None:
        self._name = cookies.BALANCE if is_secure else cookies.BALANCE_PLAIN
        self._attributes = b"; Path=/; HttpOnly; SameSite=Lax" + (b"; Secure" if is_secure else b"")

    def mark(self, head: RequestHead) -> bytes:
        """The tunnel's mark in the visitor's cookie; b"" without one."""
        return cookies.one(head.get_all(b"cookie"), self._name) or b""

    def lines(self, head: RequestHead, tunnel: Tunnel) -> bytes:
        """The Set-Cookie line for this tunnel; b"" when the browser has it."""
        if self.mark(head) == tunnel.mark:
            return b""
        return b"Set-Cookie: %b=%b%b\r\n" % (self._name, tunnel.mark, self._attributes)
