"""The cookie by which a visitor stays with one of several tunnels, on edges that want it.

It says where a request had better go and nothing else: the rules judge its sender like any visitor, and a value that
names no tunnel of the endpoint counts as none. The value is a keyed digest of the tunnel (`Tunnel.mark`). The
cookie belongs to the relay's family, so that neither the app nor a neighbour's page gets to see or set it over https.
"""

from tunnelctl.http1.head import RequestHead
from tunnelrelay.policy import cookies
from tunnelrelay.registry.tunnel import Tunnel


class Sticky:
    """See the module.

    Args:
        is_secure: Visitors come over https.
    """

    def __init__(self, *, is_secure: bool) -> None:
        self._name = cookies.BALANCE if is_secure else cookies.BALANCE_PLAIN
        self._attributes = b"; Path=/; HttpOnly; SameSite=Lax" + (b"; Secure" if is_secure else b"")

    def mark(self, head: RequestHead) -> bytes:
        """What the visitor's cookie says; b"" without one."""
        return cookies.one(head.get_all(b"cookie"), self._name) or b""

    def lines(self, head: RequestHead, tunnel: Tunnel) -> bytes:
        """The header line that makes the visitor stay with this tunnel; none when the browser knows."""
        if self.mark(head) == tunnel.mark:
            return b""
        return b"Set-Cookie: %b=%b%b\r\n" % (self._name, tunnel.mark, self._attributes)
