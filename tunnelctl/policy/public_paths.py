"""Paths that are open without login: checks the patterns that owners write, and matches requests. Does no I/O.

A pattern is a path, `/health`, or everything below one, `/webhooks/*`. A request is compared by its path exactly as
sent, which is also what the app gets, and only if every server reads that path in the same way (`is_plain`). All other
paths require a login: a path that one server reads as `/webhooks/x` and another as `/admin` must not be open.
"""

import re

MAX_PUBLIC_PATHS = 32
"""Maximum patterns of one endpoint. Each request without a session is compared with all of them."""
MAX_PUBLIC_PATH = 255
"""Maximum characters of a pattern."""
BELOW = "/*"
"""Suffix of a pattern that matches everything below a path."""

_PLAIN = re.compile(rb"/(?:(?!\.+(?:/|\Z))[A-Za-z0-9._~!$&'()*,:=@-]+(?:/|\Z))*")
"""Matches paths that every server reads in the same way: segments of certain characters of RFC 3986 section 3.3.

Excluded are `%`, which is decoded once, twice or never (and may stand for `/` or `.`); `;`, after which some servers
read parameters of the segment; `+`, which some read as a blank; `\\`, which is a slash on Windows and in browsers; and
characters that RFC 3986 does not allow, which clients encode in different ways. A segment of dots alone leads upwards,
or is ignored by Windows, and many servers drop an empty segment.
"""
_CHARACTERS = "letters, digits and -._~!$&'(),:=@"
_RELAYS = "_tunnel"


def is_plain(path: bytes) -> bool:
    """Return whether every server reads this path in the same way."""
    return _PLAIN.fullmatch(path) is not None


def find_pattern(patterns: tuple[bytes, ...], path: bytes) -> bytes:
    """Return the first pattern that matches a request's path; b"" for none. Case matters.

    Args:
        patterns: Patterns that `problem` found valid.
        path: Path of the request as sent, without the query.
    """
    for pattern in patterns:
        if path == pattern or (pattern.endswith(b"/*") and path.startswith(pattern[:-1]) and path != pattern[:-1]):
            return pattern if is_plain(path) else b""
    return b""


def problem(pattern: str) -> str:
    """Return why a pattern may not be open without login; "" when it may."""
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
