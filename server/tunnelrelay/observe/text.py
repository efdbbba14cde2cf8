"""Makes strangers' text safe for a log: without control characters and line breaks.

Visitors choose paths, hosts, names and e-mail addresses, and must not forge log lines.
`tunnelctl/secret.py` takes secrets out before.
"""

import re
import time
from functools import lru_cache

_PLAIN = re.compile(r"[!#-<>-~]+")
"""What needs no quotes in a key=value line: printable ASCII without space, `"` and `=`."""


def quoted(value: str) -> str:
    """The value for a key=value line: as it is when plain, else in quotes with everything unprintable escaped."""
    if _PLAIN.fullmatch(value):
        return value
    return '"' + printable(value.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def printable(text: str) -> str:
    r"""The text with control characters, bidirectional overrides and lone surrogates as `\uXXXX`."""
    return text if text.isprintable() else "".join(map(_shown, text))


def clean_json(encoded: bytes) -> bytes:
    """JSON with DEL, C1 controls and other unprintable characters escaped, which JSON itself lets through raw."""
    if encoded.isascii() and b"\x7f" not in encoded:
        return encoded  # below U+0020 the encoder has escaped already
    return printable(encoded.decode()).encode()


def timestamp(at: float) -> str:
    """Unix time as RFC 3339 in UTC with milliseconds."""
    millis = int(at * 1000)
    return f"{_second(millis // 1000)}.{millis % 1000:03d}Z"


def _shown(char: str) -> str:
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000  # as JSON has it, so that both formats read alike (RFC 8259, section 7)
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


@lru_cache(maxsize=8)
def _second(at: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
