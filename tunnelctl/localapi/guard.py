"""Decides whether a request may use the local API, which has no credentials: requests made by web pages must be
refused. Does no I/O.

A web page can reach 127.0.0.1 in two ways. It can send requests from its own origin; these have an `Origin`, or a
`Content-Type` that `api` does not accept. Or its host name can be made to resolve to 127.0.0.1 (DNS rebinding); then
the browser treats the API as the page's own server, and only `Host` shows the page's name.
"""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from tunnelctl.localapi.message import ApiAnswer, ApiRequest, text_answer

ON_TUNNELS = frozenset({"/status", "/api/status"})
"""Paths that are also served on a tunnel's own public name, if that tunnel leads here, as they only show that the agent
is up. All other paths would let visitors publish ports of this machine."""
FORWARDED = frozenset({"forwarded", "x-forwarded-for"})
"""Header fields of requests that came through a tunnel, whatever their Host: `--host-header=rewrite` changes it to a
local one. Relays always set X-Forwarded-For, and no header rule can remove it."""


def refusal(request: ApiRequest, *, bound_host: str, tunnel_hosts: Collection[str]) -> ApiAnswer | None:
    """Return the response for a request that may not use the API; None for one that may.

    Args:
        bound_host: IP literal at which the API listens.
        tunnel_hosts: Public names of this agent's tunnels, in lower case.
    """
    is_status = request.method in ("GET", "HEAD") and request.path in ON_TUNNELS
    is_of_tunnel = host_of(request.host) in tunnel_hosts
    if not (_is_own_name(request.host, bound_host) or (is_of_tunnel and is_status)):
        said = "The local API answers to localhost and to IP addresses of this machine."
        return text_answer(f'Rejected host "{_printable(request.host)}". {said}', 401)
    if FORWARDED & request.fields.keys() and not is_status:
        return text_answer("The local API does not answer requests that come through a tunnel or another proxy.", 403)
    origin = request.fields.get("origin")
    if origin is not None and _authority_of(origin) != request.host.lower():
        return text_answer(f'Rejected origin "{_printable(origin)}".', 403)
    return None


def is_through_tunnel(request: ApiRequest, bound_host: str) -> bool:
    """Return whether a visitor sent this request, through a tunnel that leads to the local API."""
    return bool(FORWARDED & request.fields.keys()) or not _is_own_name(request.host, bound_host)


def host_of(authority: str) -> str:
    """Return the host of `host:port` in lower case and without brackets; "" when there is none."""
    try:
        return urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        return ""


def is_this_machine(host: str) -> bool:
    """Return whether a name or IP literal means this machine and cannot be a public name.

    Names below `localhost` do not count, as a relay on this machine gives them to tunnels.
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_own_name(authority: str, bound_host: str) -> bool:
    host = host_of(authority)
    return bool(host) and (is_this_machine(host) or host == bound_host)


def _authority_of(origin: str) -> str:
    """Return host and port of an `http` origin in lower case; "" for any other origin."""
    scheme, _, rest = origin.lower().partition("://")
    return rest if scheme == "http" else ""


def _printable(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii")[:255]
