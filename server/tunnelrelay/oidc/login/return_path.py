"""The redirect after a login: always to a path of the endpoint, never to another site. Pure."""

import re

from tunnelrelay.oidc.login.sealed_state import MAX_RETURN

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
