"""Reads the relay's own cookies strictly, byte by byte, and strips them generously from requests and responses.

Browsers store cookies whose names begin with a raw 0xA0 or 0x85 byte and send them to sibling hosts; parsers that trim
Unicode white space (Starlette's does) then read them as `__Host-tunnel`. So: split on `;` only, trim only space and
tab, compare names exactly, and take two cookies of our name for none. The `__Host-` prefix alone protects nothing.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import unquote_to_bytes

from tunnelctl.bounds import DeclaredBound
from tunnelctl.memo import Memo

SESSION, SESSION_PLAIN = b"__Host-tunnel", b"tunnel"
"""Name of the session cookie over https, and over plain http (domain `localhost` only)."""
TRANSACTION, TRANSACTION_PLAIN = b"__Host-tunnel-tx-", b"tunnel-tx-"
"""Prefix of the cookies of a login under way."""
BALANCE, BALANCE_PLAIN = b"__Host-tunnel-lb", b"tunnel-lb"
"""Name of the cookie that keeps a visitor with one of several tunnels."""

MAX_SET_COOKIES = 64
"""Set-Cookie fields taken from one answer. Browsers keep about 180 a site: many push out those of other hosts."""
MAX_SET_COOKIE_BYTES = 8_192
"""Browsers ignore a cookie over 4,096 bytes of name and value, so nothing usable is lost."""

BOUNDS = (
    DeclaredBound(
        name="cookies that it sets",
        limit=MAX_SET_COOKIES,
        unit="Set-Cookie fields",
        per="response",
        when_full="further ones are left out",
        worst_bytes=0,
    ),
    DeclaredBound(
        name="one cookie that it sets",
        limit=MAX_SET_COOKIE_BYTES,
        unit="bytes",
        per="response",
        when_full="it is left out",
        worst_bytes=0,
    ),
)

MAX_REMEMBERED = 1_024
"""Bytes of a Cookie field whose reading is remembered: 4,096 of them stay below some 10 MB."""

MAX_DOUBTFUL = 256
"""Different pairs of one Cookie field that are looked at closely, as each costs some 5 us. Of more, all that could be
ours are taken out. Browsers send some 180 cookies to a site at most."""

_VALUE = re.compile(rb"[A-Za-z0-9_.-]+")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_JUNK = bytes(b for b in range(256) if not _TOKEN.fullmatch(bytes((b,))))
_OURS = re.compile(rb'[_. \[]{2}Host-tunnel|(?:^|,)[^!-~]*[="]*tunnel(?:-[^=]*|\[[^=]*|[^!#-~]*)(?:=|$)', re.IGNORECASE)
"""A pair that is ours, or that a lax parser behind us might take for ours: one that trims, that splits at commas, or
PHP, which reads `.`, a blank and `[` as `_`, and `tunnel[x]` as an array called `tunnel`."""

_ENCODED = re.compile(rb"%(?:[57][45]|[46][5CcEe])")
"""A percent-encoded letter of `tunnel`, which nothing encodes without need. Old releases of PHP and Rack decode names
(CVE-2020-7070, CVE-2020-8184)."""


def hits(values: Iterable[bytes], name: bytes) -> list[bytes]:
    """Returns the values of every cookie of exactly this name in these Cookie fields, good or not."""
    return [value for found, value in _pairs(values) if found == name]


def one(values: Sequence[bytes], name: bytes) -> bytes | None:
    """Returns the value of the only cookie of this name.

    None when there is none, more than one, or one with a byte we never write. A caller that got None but has `hits`
    should clear the cookie.
    """
    memo = _ONE.get(name)
    if memo is not None and len(values) == 1:
        return memo[values[0]]
    return _one(values, name)


def with_prefix(values: Iterable[bytes], prefix: bytes) -> list[tuple[bytes, bytes]]:
    """Returns (name, value) of every cookie whose name begins with `prefix`, in order."""
    return [pair for pair in _pairs(values) if pair[0].startswith(prefix)]


def strip(value: bytes) -> bytes:
    """Returns a Cookie field's value without ours, the others byte for byte as they were; b"" when none is left."""
    return _STRIPPED[value] if len(value) <= MAX_REMEMBERED else _strip(value)


def is_ours(name: bytes) -> bool:
    """Whether a cookie name belongs to the relay, or might be taken for one that does."""
    return _looks_ours(name + b"=")


def admit_set_cookie(value: bytes, host: bytes) -> bytes | None:
    """Return the Set-Cookie value that an upstream may set, host-only unless it names this host; None to drop the
    field.

    Dropped are our names in every spelling that a parser might read as ours, cookies with neither name nor value, and
    oversized ones. A name need not be a token: apps set `cart[1]`, and browsers keep it. A browser sends a cookie
    without a name back as its value alone, which must not look like ours either. A Domain above this host would reach
    the endpoints of other owners.

    Args:
        host: The endpoint's host name, lower-case, without port.
    """
    pair, *attributes = value.split(b";")
    name, has_name, rest = pair.partition(b"=")
    name = name.strip(b" \t")
    sent_back = name + b"=" if name and has_name else rest or name
    if not sent_back.strip(b" \t") or _looks_ours(sent_back) or len(value) > MAX_SET_COOKIE_BYTES:
        return None
    kept = [attribute for attribute in attributes if not _is_foreign_domain(attribute, host)]
    return value if len(kept) == len(attributes) else b";".join((pair, *kept))


def _is_foreign_domain(attribute: bytes, host: bytes) -> bool:
    name, _, domain = attribute.partition(b"=")
    return name.strip(_JUNK).lower() == b"domain" and domain.strip(b" \t").removeprefix(b".").lower() != host


def _one(values: Iterable[bytes], name: bytes) -> bytes | None:
    found = hits(values, name)
    return found[0] if len(found) == 1 and _VALUE.fullmatch(found[0]) else None


def _finder(name: bytes) -> Callable[[bytes], bytes | None]:
    return lambda value: _one((value,), name)


def _strip(value: bytes) -> bytes:
    if not _mentions_us(value):
        return value
    parts = value.split(b";")
    doubtful = {part for part in set(parts) if _mentions_us(part)}
    ours = doubtful if len(doubtful) > MAX_DOUBTFUL else {part for part in doubtful if _looks_ours(part)}
    return b";".join([part for part in parts if part not in ours]).strip(b" \t") if ours else value


def _looks_ours(pair: bytes) -> bool:
    """Whether any parser might read the pair, or a part of it, as a cookie of the relay's."""
    if not _mentions_us(pair):
        return False
    if _OURS.search(pair):
        return True
    is_encoded = b"%" in pair and any(b"%" in part.partition(b"=")[0] for part in pair.split(b","))
    return is_encoded and _OURS.search(unquote_to_bytes(pair)) is not None


def _mentions_us(text: bytes) -> bool:
    """Whether `_OURS` can match at all: a cheap test, which mostly answers no."""
    return b"tunnel" in text.lower() or (b"%" in text and _ENCODED.search(text) is not None)


def _pairs(values: Iterable[bytes]) -> Iterable[tuple[bytes, bytes]]:
    for value in values:
        for part in value.split(b";"):
            name, _, rest = part.strip(b" \t").partition(b"=")
            yield name, rest


_STRIPPED = Memo(_strip, max_bytes=MAX_REMEMBERED)
_ONE = {name: Memo(_finder(name), max_bytes=MAX_REMEMBERED) for name in (SESSION, SESSION_PLAIN)}
"""What a Cookie field comes to: a browser sends the same one with every request."""
