"""The cookie that keeps a visitor at one of several tunnels, for edges with sticky visitors.

The cookie only selects a tunnel: the policy applies as for all visitors, and a value that names no tunnel of the
endpoint is ignored. The value is an HMAC that identifies the tunnel (`Tunnel.mark`). Its name begins like the relay's
other cookies, which neither the app nor another tunnel's page can read or set over https.
"""

from tunnelctl.http1.head import RequestHead
from tunnelrelay.policy import cookies
from tunnelrelay.registry.tunnel import Tunnel


class Sticky:
    """Reads and writes the sticky cookie, which identifies a visitor's tunnel.

    Args:
        is_secure: Whether the relay's public URLs are https.
    """

    def __init__(self, *, is_secure: bool) -> None:
        self._name = cookies.BALANCE if is_secure else cookies.BALANCE_PLAIN
        self._attributes = b"; Path=/; HttpOnly; SameSite=Lax" + (b"; Secure" if is_secure else b"")

    def mark(self, head: RequestHead) -> bytes:
        """Return the mark of a tunnel in the request's sticky cookie; b"" without the cookie."""
        return cookies.one(head.get_all(b"cookie"), self._name) or b""

    def lines(self, head: RequestHead, tunnel: Tunnel) -> bytes:
        """Return the `Set-Cookie` line that keeps the visitor at this tunnel; b"" when the browser has the cookie."""
        if self.mark(head) == tunnel.mark:
            return b""
        return b"Set-Cookie: %b=%b%b\r\n" % (self._name, tunnel.mark, self._attributes)
