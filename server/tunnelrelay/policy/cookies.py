"""Reads the relay's own cookies strictly, and removes them (and look-alikes) from requests and responses.

Browsers store cookies whose names begin with a raw 0xA0 or 0x85 byte and send them to sibling hosts; parsers that trim
Unicode white space (such as Starlette's) then read them as `__Host-tunnel`. So this module splits on `;` only, trims
only space and tab, compares names exactly, and ignores the cookie if it occurs twice. The `__Host-` prefix alone does
not protect against this.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import unquote_to_bytes

from tunnelctl.bounds import DeclaredBound
from tunnelctl.memo import Memo

SESSION, SESSION_PLAIN = b"__Host-tunnel", b"tunnel"
"""Name of the session cookie over https, and over plain http (domain `localhost` only)."""
TRANSACTION, TRANSACTION_PLAIN = b"__Host-tunnel-tx-", b"tunnel-tx-"
"""Prefix of the cookies of unfinished logins, over https and over plain http."""
BALANCE, BALANCE_PLAIN = b"__Host-tunnel-lb", b"tunnel-lb"
"""Name of the sticky cookie, which keeps a visitor with one of several tunnels, over https and over plain http."""

MAX_SET_COOKIES = 64
"""Maximum Set-Cookie fields forwarded from one response. Browsers keep about 180 per site: many cookies would push out
those of other hosts."""
MAX_SET_COOKIE_BYTES = 8_192
"""Maximum bytes of a forwarded Set-Cookie value. Browsers ignore cookies over 4,096 bytes of name and value, so no
usable cookie is lost."""

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
"""Maximum bytes of a Cookie field whose parsed result is cached: 4,096 of them stay below about 10 MB."""

MAX_DOUBTFUL = 256
"""Maximum different pairs of one Cookie field that are examined closely, as each costs about 5 us. If there are more,
every pair that could be one of our cookies is removed. Browsers send at most about 180 cookies to a site."""

_VALUE = re.compile(rb"[A-Za-z0-9_.-]+")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_JUNK = bytes(b for b in range(256) if not _TOKEN.fullmatch(bytes((b,))))
_OURS = re.compile(rb'[_. \[]{2}Host-tunnel|(?:^|,)[^!-~]*[="]*tunnel(?:-[^=]*|\[[^=]*|[^!#-~]*)(?:=|$)', re.IGNORECASE)
"""Matches a pair that is one of our cookies, or that a lax parser might take for one: a parser that trims, that splits
at commas, or PHP, which reads `.`, a blank and `[` as `_`, and `tunnel[x]` as an array called `tunnel`."""

_ENCODED = re.compile(rb"%(?:[57][45]|[46][5CcEe])")
"""Matches a percent-encoded letter of `tunnel`, which no client encodes without reason. Old releases of PHP and Rack
decode cookie names (CVE-2020-7070, CVE-2020-8184)."""


def hits(values: Iterable[bytes], name: bytes) -> list[bytes]:
    """Return the values of all cookies with exactly this name in these Cookie fields, valid or not."""
    return [value for found, value in _pairs(values) if found == name]


def one(values: Sequence[bytes], name: bytes) -> bytes | None:
    """Return the value of the only cookie with this name.

    Return None when there is no such cookie, more than one, or one with a byte that the relay never writes. A caller
    that gets None although `hits` returns values should clear the cookie.
    """
    memo = _ONE.get(name)
    if memo is not None and len(values) == 1:
        return memo[values[0]]
    return _one(values, name)


def with_prefix(values: Iterable[bytes], prefix: bytes) -> list[tuple[bytes, bytes]]:
    """Return (name, value) of every cookie whose name begins with `prefix`, in order."""
    return [pair for pair in _pairs(values) if pair[0].startswith(prefix)]


def strip(value: bytes) -> bytes:
    """Return a Cookie field's value without our cookies, the others unchanged; b"" when none is left."""
    return _STRIPPED[value] if len(value) <= MAX_REMEMBERED else _strip(value)


def is_ours(name: bytes) -> bool:
    """Return whether a cookie's name is one of the relay's, or could be mistaken for one."""
    return _looks_ours(name + b"=")


def admit_set_cookie(value: bytes, host: bytes) -> bytes | None:
    """Return the Set-Cookie value that an upstream may set, without a Domain unless it is this host; None to drop the
    field.

    The following cookies are dropped: names that a parser might read as one of ours, cookies with neither name nor
    value, oversized ones, and those with a Domain above this host, which would reach endpoints of other owners. A name
    need not be a token: apps set `cart[1]`, and browsers accept it. A browser sends a cookie without a name back as its
    value alone, which must not look like one of ours either.

    Args:
        host: The endpoint's host name in lower case, without port.
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
    """Return whether a parser might read the pair, or a part of it, as one of the relay's cookies."""
    if not _mentions_us(pair):
        return False
    if _OURS.search(pair):
        return True
    is_encoded = b"%" in pair and any(b"%" in part.partition(b"=")[0] for part in pair.split(b","))
    return is_encoded and _OURS.search(unquote_to_bytes(pair)) is not None


def _mentions_us(text: bytes) -> bool:
    """Return whether `_OURS` can match at all: a cheap test that usually returns False."""
    return b"tunnel" in text.lower() or (b"%" in text and _ENCODED.search(text) is not None)


def _pairs(values: Iterable[bytes]) -> Iterable[tuple[bytes, bytes]]:
    for value in values:
        for part in value.split(b";"):
            name, _, rest = part.strip(b" \t").partition(b"=")
            yield name, rest


_STRIPPED = Memo(_strip, max_bytes=MAX_REMEMBERED)
_ONE = {name: Memo(_finder(name), max_bytes=MAX_REMEMBERED) for name in (SESSION, SESSION_PLAIN)}
"""Caches the parsed session cookie of a Cookie field, as a browser sends the same field with every request."""
