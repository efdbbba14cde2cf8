"""Makes untrusted text safe for a log: escapes control characters and line breaks.

Visitors choose paths, hosts, names and e-mail addresses, and must not be able to forge log lines. `tunnelctl/secret.py`
removes secrets before.
"""

import re
import time
from functools import lru_cache

_PLAIN = re.compile(r"[!#-<>-~]+")
"""Values that need no quotes in a key=value line: printable ASCII without space, `"` and `=`."""


def quoted(value: str) -> str:
    """Return the value for a key=value line: unchanged if it needs no quotes, else quoted and escaped."""
    if _PLAIN.fullmatch(value):
        return value
    return '"' + printable(value.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def printable(text: str) -> str:
    r"""Return the text with control characters, bidirectional overrides and lone surrogates as `\uXXXX`."""
    return text if text.isprintable() else "".join(map(_shown, text))


def clean_json(encoded: bytes) -> bytes:
    """Escape the unprintable characters that JSON allows unescaped, such as DEL and C1 controls."""
    if encoded.isascii() and b"\x7f" not in encoded:
        return encoded  # the JSON encoder has escaped those below U+0020
    return printable(encoded.decode()).encode()


def timestamp(at: float) -> str:
    """Format a Unix time as RFC 3339 in UTC with milliseconds."""
    millis = int(at * 1000)
    return f"{_second(millis // 1000)}.{millis % 1000:03d}Z"


def _shown(char: str) -> str:
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000  # a surrogate pair as in JSON, so that both formats look alike (RFC 8259, section 7)
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


@lru_cache(maxsize=8)
def _second(at: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
