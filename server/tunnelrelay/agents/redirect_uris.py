"""The OAuth redirect URI of an endpoint's login. The agent shows it, so that it can be registered at the provider."""

from tunnelctl.wire.messages import Bind
from tunnelctl.wire.problem import Problem
from tunnelrelay.address import PublicAddress
from tunnelrelay.policy.rules import Connection


def redirect_uri(connection: Connection | None, host: str, address: PublicAddress) -> str | None:
    """Return the redirect URI exactly as a login at this host sends it; None when the endpoint has no login."""
    return None if connection is None else address.redirect_uri(connection.callback, connection.id, host)


def callback_problem(bind: Bind) -> Problem | None:
    """Return why the bind cannot have the callback it asks for; None when it can.

    A callback at the endpoint's own host needs a chosen name: the URI of a random one could not be registered.
    """
    oidc = bind.policy.oidc
    is_random = bind.subdomain is None and bind.host is None
    if oidc is not None and oidc.callback == "host" and is_random:
        text = "a redirect URI at the endpoint's own host would be another one at every start, as its name is random"
        return Problem("oidc.callback", text)
    return None
