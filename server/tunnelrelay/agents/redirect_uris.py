"""The redirect URI of an endpoint's login, which the agent shows for registration at the provider."""

from tunnelctl.wire.messages import Bind
from tunnelctl.wire.problem import Problem
from tunnelrelay.address import PublicAddress
from tunnelrelay.policy.rules import Connection


def redirect_uri(connection: Connection | None, host: str, address: PublicAddress) -> str | None:
    """The redirect URI exactly as a login sends it; None without a login."""
    return None if connection is None else address.redirect_uri(connection.callback, connection.id, host)


def callback_problem(bind: Bind) -> Problem | None:
    """Why an agent cannot have the callback it asks for, None when it can."""
    oidc = bind.policy.oidc
    is_random = bind.subdomain is None and bind.host is None
    if oidc is not None and oidc.callback == "host" and is_random:
        text = "a redirect URI at the endpoint's own host would be another one at every start, as its name is random"
        return Problem("oidc.callback", text)
    return None
