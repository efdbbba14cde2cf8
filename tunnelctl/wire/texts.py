"""Limits and formats of names and texts that owners write, shared by agents, relay, API and dashboard."""

import ipaddress
import re

MAX_LABELS = 16
"""Maximum number of labels of a tunnel, and of a tunnel group: no tunnel could satisfy a group that requires more. A
tunnel's labels have at most 16 x 2 x 255 characters, 33 KB of UTF-8."""
MAX_LABEL = 255
"""Maximum characters of a label's name, and of its value."""
MAX_DESCRIPTION = 255
"""Maximum bytes of a description that an owner writes for people. ngrok has the same limit."""
MAX_METADATA = 4096
"""Maximum bytes of metadata that an owner writes for programs. ngrok has the same limit."""
EDGE_LABEL = "edge"
"""Name of a built-in label whose value is an edge's id: a tunnel with it serves that edge if the edge has no tunnel
group."""
NAME_PATTERN = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
"""Pattern of one label of a host name in lower case (RFC 1123 section 2.1); names of named providers have it too."""
_NAME = re.compile(NAME_PATTERN)


def is_name(text: str) -> bool:
    """Return whether the text is one label of a host name in lower case, which is also the form of a named provider's
    name.
    """
    return _NAME.fullmatch(text) is not None


def label_problem(name: str, value: str) -> str:
    """Return why this is not a valid label for a tunnel or a tunnel group; "" when it is valid."""
    if not name or not value:
        return "its name or its value is empty"
    if "=" in name:
        return "its name has an equals sign"
    if max(len(name), len(value)) > MAX_LABEL:
        return f"its name or its value is longer than {MAX_LABEL} characters"
    return "" if (name + value).isprintable() else "it holds a character that cannot be shown"


def is_loopback(host: str) -> bool:
    """Return whether a host name or IP literal means this machine. Names follow RFC 6761; no DNS query is made."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
