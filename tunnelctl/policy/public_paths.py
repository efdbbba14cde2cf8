"""Paths that are open without an endpoint's login: what an owner may write, and which requests are meant. Pure.

A pattern is a path, `/health`, or everything below one, `/webhooks/*`. A request is compared by its path as it was
sent, which is what the app gets, and only when every server reads that path alike (`is_plain`). All others have to log
in: a path that one reader takes for `/webhooks/x` and another for `/admin` must not be open.
"""

import re

MAX_PUBLIC_PATHS = 32
"""Patterns of one endpoint. A request that has no session is compared with each."""
MAX_PUBLIC_PATH = 255
"""Characters of a pattern."""
BELOW = "/*"
"""Ends a pattern that means everything below a path."""

_PLAIN = re.compile(rb"/(?:(?!\.+(?:/|\Z))[A-Za-z0-9._~!$&'()*,:=@-]+(?:/|\Z))*")
"""Segments of the characters of RFC 3986 section 3.3 that have one reading everywhere.

Not among them are `%`, which is decoded once, twice or never (and may stand for `/` or `.`); `;`, behind which some
servers read parameters of the segment; `+`, which some read as a blank; `\\`, which is a slash on Windows and in
browsers; and what RFC 3986 does not allow, which clients encode in their own ways. A segment of dots alone leads
upwards, or is nothing to Windows, and an empty one is left out by many servers.
"""
_CHARACTERS = "letters, digits and -._~!$&'(),:=@"
_RELAYS = "_tunnel"


def is_plain(path: bytes) -> bool:
    """Says whether every server reads this path as it stands."""
    return _PLAIN.fullmatch(path) is not None


def find_pattern(patterns: tuple[bytes, ...], path: bytes) -> bytes:
    """Returns the first of these patterns that means a request's path; b"" for none. Upper and lower case differ.

    Args:
        patterns: Each as `problem` lets it through.
        path: As the request has it, without the query.
    """
    for pattern in patterns:
        if path == pattern or (pattern.endswith(b"/*") and path.startswith(pattern[:-1]) and path != pattern[:-1]):
            return pattern if is_plain(path) else b""
    return b""


def problem(pattern: str) -> str:
    """Returns why this cannot be open without a login; "" when it can."""
    shown = repr(pattern[:64])
    if not pattern.startswith("/"):
        return f"{shown} is not a path like /health or /webhooks/*"
    path = pattern.removesuffix(BELOW)
    if not path:
        return f"{shown} would take the login off every path"
    if "*" in path:
        return f"{shown}: `*` stands at the end only, for everything below a path: /webhooks/*"
    example = path if path == pattern else f"{path}/x"
    if not is_plain(example.encode("utf-8", "surrogatepass")):
        return f"{shown} could be read as another path: it takes {_CHARACTERS}, and no segment that is empty or of dots"
    if path.split("/")[1].lower() == _RELAYS:
        return f"{shown}: what is below /{_RELAYS}/ is the relay's own"
    return ""
