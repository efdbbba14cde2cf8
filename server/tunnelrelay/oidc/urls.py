"""The two addresses a login sends a browser to, built so that nobody else decides where they lead. Pure."""

import re
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from tunnelrelay.oidc.blobs import MAX_RETURN

_TARGET = re.compile(rb"/(?![/\\])[\x21-\x7e]*")
"""One slash, then neither `/` nor `\\` (browsers take `//x` and `/\\x` for another host), then visible ASCII only:
browsers drop tabs and line breaks, which could join what stands around them into `//`."""


def return_path(target: bytes) -> str:
    """Where a visitor goes after the login: the request's own path and query, or `/` when that is not safely a path.

    Args:
        target: The request target. Nothing else of a request ever decides where a login leads.
    """
    is_path = len(target) <= MAX_RETURN and _TARGET.fullmatch(target) is not None
    return target.decode("ascii") if is_path and b"\\" not in target and b"#" not in target else "/"


def return_url(base: str, path: str) -> str:
    """The absolute address of a path at an endpoint.

    Absolute, so that no path can be read as a host: `//evil` behind `https://app` is still a path of `app`.

    Args:
        base: Scheme, host and port, without a slash at the end.
    """
    return f"{base}{return_path(path.encode('ascii', 'replace'))}"


def authorization_url(endpoint: str, ours: dict[str, str]) -> str:
    """The provider's login page with our parameters, which win over those its own address may carry already."""
    url = urlsplit(endpoint)
    theirs = [(name, value) for name, value in parse_qsl(url.query, keep_blank_values=True) if name not in ours]
    return urlunsplit(url._replace(query=urlencode([*theirs, *ours.items()])))
