"""Limits and forms of names and texts that owners write, shared by agents, relay, API and dashboard."""

import ipaddress
import re

MAX_LABELS = 16
"""Labels of one tunnel, and of one tunnel group: a group that asks for more than a tunnel can carry is never served.
At most 16 x 2 x 255 characters, 33 KB of UTF-8, a tunnel."""
MAX_LABEL = 255
"""Characters of a label's name, and of its value."""
MAX_DESCRIPTION = 255
"""Bytes of what an owner writes about a thing for people, as many as ngrok takes."""
MAX_METADATA = 4096
"""Bytes of what an owner writes about a thing for programs, as many as ngrok takes."""
EDGE_LABEL = "edge"
"""Name of the label, with an edge's id, by which any edge without a tunnel group is joined."""
NAME_PATTERN = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
"""One label of a host name in lower case (RFC 1123 section 2.1), and a named provider's name."""
_NAME = re.compile(NAME_PATTERN)


def is_name(text: str) -> bool:
    """Whether the text is one label of a host name, or a named provider's name, in lower case."""
    return _NAME.fullmatch(text) is not None


def label_problem(name: str, value: str) -> str:
    """Why a tunnel cannot carry, and a tunnel group not ask for, this label; "" when they can."""
    if not name or not value:
        return "its name or its value is empty"
    if "=" in name:
        return "its name has an equals sign"
    if max(len(name), len(value)) > MAX_LABEL:
        return f"its name or its value is longer than {MAX_LABEL} characters"
    return "" if (name + value).isprintable() else "it holds a character that cannot be shown"


def is_loopback(host: str) -> bool:
    """Whether a name or IP literal means this machine. Names are judged by RFC 6761, not by asking a resolver."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
