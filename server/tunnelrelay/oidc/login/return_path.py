"""Builds the redirect after a login: always to a path of the endpoint, never to another site. Does no I/O."""

import re

from tunnelrelay.oidc.login.sealed_state import MAX_RETURN

_TARGET = re.compile(rb"/(?![/\\])[\x21-\x7e]*")
"""Matches one slash that is not followed by `/` or `\\` (browsers read `//x` and `/\\x` as another host), then visible
ASCII only: browsers drop tabs and line breaks, so that the characters around them could form `//`."""


def return_path(target: bytes) -> str:
    """Return the path for the redirect after a login: path and query of the request, or `/` when they are not safe.

    Args:
        target: The request target. No other part of a request decides where a login leads.
    """
    is_path = len(target) <= MAX_RETURN and _TARGET.fullmatch(target) is not None
    return target.decode("ascii") if is_path and b"\\" not in target and b"#" not in target else "/"


def return_url(base: str, path: str) -> str:
    """Return the absolute URL of a path at an endpoint.

    The URL is absolute so that a path cannot be read as a host: `//evil` after `https://app` is still a path of `app`.

    Args:
        base: Scheme, host and port, without a trailing slash.
    """
    return f"{base}{return_path(path.encode('ascii', 'replace'))}"
