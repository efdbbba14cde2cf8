"""Whether a request may use the local API: it has no credentials, so it must not be one that a web page makes. Pure.

A page of the web reaches 127.0.0.1 in two ways. It can send requests here from its own origin: those carry an `Origin`,
or a `Content-Type` that `api` does not take. Or its name can be made to resolve to 127.0.0.1 (DNS rebinding): then
the browser takes the API for the page's own server, and only `Host` tells the page's name.
"""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from tunnelctl.localapi.message import ApiAnswer, ApiRequest, text_answer

ON_TUNNELS = frozenset({"/status", "/api/status"})
"""Paths that are answered on a tunnel's own public name as well, when that tunnel leads here: they show no more than
that the agent is up. Everything else would let visitors publish ports of this machine."""
FORWARDED = frozenset({"forwarded", "x-forwarded-for"})
"""What a request has that came through a tunnel, whatever its Host: `--host-header=rewrite` makes that a local one.
Relays always write X-Forwarded-For, and no rule for headers takes it out."""


def refusal(request: ApiRequest, *, bound_host: str, tunnel_hosts: Collection[str]) -> ApiAnswer | None:
    """The answer to a request that may not use the API, None for one that may.

    Args:
        bound_host: IP literal that the API listens at.
        tunnel_hosts: Public names of this agent's tunnels, lower-case.
    """
    host = host_of(request.host)
    is_status = request.method in ("GET", "HEAD") and request.path in ON_TUNNELS
    is_here = is_this_machine(host) or host == bound_host
    if not host or not (is_here or (host in tunnel_hosts and is_status)):
        said = "The local API answers to localhost and to IP addresses of this machine."
        return text_answer(f'Rejected host "{_printable(request.host)}". {said}', 401)
    if FORWARDED & request.fields.keys() and not is_status:
        return text_answer("The local API does not answer requests that come through a tunnel or another proxy.", 403)
    origin = request.fields.get("origin")
    if origin is not None and _authority_of(origin) != request.host.lower():
        return text_answer(f'Rejected origin "{_printable(origin)}".', 403)
    return None


def host_of(authority: str) -> str:
    """The host of `host:port`, lower-case and without brackets; "" where it is none."""
    try:
        return urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        return ""


def is_this_machine(host: str) -> bool:
    """Whether a name or literal means this machine and can be no name of the web's.

    Names below `localhost` do not count: a relay on this machine gives them to tunnels.
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _authority_of(origin: str) -> str:
    """Host and port of an `http` origin, lower-case; "" for every other."""
    scheme, _, rest = origin.lower().partition("://")
    return rest if scheme == "http" else ""


def _printable(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii")[:255]
