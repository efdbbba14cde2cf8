"""Limits how many logins may begin, per address and per connection.

Beginning a login stores nothing and calls no provider, but it encrypts a value and adds a cookie. Each exchanged code
needs its own login, so these limits also bound calls to the provider.
"""

from collections.abc import Callable

from tunnelctl.bounds import DeclaredBound
from tunnelrelay.model import Reply
from tunnelrelay.observe.audit import Audit
from tunnelrelay.observe.metrics import Metrics
from tunnelrelay.oidc.login.visitor_request import VisitorRequest
from tunnelrelay.pages.page import error_reply
from tunnelrelay.policy.limits import KEY_BYTES, Buckets, address_key

BURST, PER_SECOND = 30, 0.5
"""Maximum logins that one address may begin, at once and per second. Enough for a browser that restores thirty tabs,
and more than people need who share an address and sign in once a day."""
CONNECTION_BURST, CONNECTION_PER_SECOND = 1000, 100.0
"""Maximum logins that may begin at one OpenID connection, at once and per second, from all addresses: about 2 % of a
core. Only reached by very many addresses at once."""


BOUNDS = (
    DeclaredBound(
        name="logins begun by one address",
        limit=BURST,
        unit="at once, one in 2 seconds after",
        per="address",
        when_full="429 with Retry-After",
        worst_bytes=KEY_BYTES,
        holds=("LoginLimits._addresses",),
    ),
    DeclaredBound(
        name="logins begun at one connection",
        limit=CONNECTION_BURST,
        unit="at once, 100 a second after",
        per="connection",
        when_full="429 with Retry-After",
        worst_bytes=KEY_BYTES,
        holds=("LoginLimits._connections",),
    ),
)


class LoginLimits:
    """Token buckets for begun logins, one for each address and one for each connection.

    Args:
        monotonic: Function that returns monotonic seconds.
        connection_burst: Logins that may begin at one connection at once.
    """

    def __init__(
        self,
        *,
        metrics: Metrics,
        audit: Audit,
        monotonic: Callable[[], float],
        connection_burst: int = CONNECTION_BURST,
    ) -> None:
        self._metrics = metrics
        self._audit = audit
        self._monotonic = monotonic
        self._addresses = Buckets(BURST, PER_SECOND)
        self._connections = Buckets(connection_burst, CONNECTION_PER_SECOND)

    def refuse(self, request: VisitorRequest) -> Reply | None:
        """Return the error for a visitor who begins too many logins; None if the login may begin."""
        now = self._monotonic()
        address = address_key(request.peer.host)
        # The address is checked first: a refused address must not use up the budget of its connection.
        wait, limit = self._addresses.wait(address, now) if address else 0, "login_address"
        if not wait:
            wait, limit = self._connections.wait(request.connection.share, now), "login_connection"
        if not wait:
            return None
        self._metrics.limited(limit)
        self._audit.record("rate.limited", reason=limit, **request.about())
        return error_reply(
            "too_many_requests", request_id=request.request_id, host=request.host, wants_html=True, retry_after=wait
        )
