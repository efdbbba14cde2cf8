"""Filters header fields in both directions: removes hop-by-hop fields, forged fields about the visitor, and the relay's
own fields.

This is on the hot path: one pass over the fields, with the kind of each name (header_names.py) cached. Fields are
always removed first, and the relay adds its own afterwards, so that a field of a visitor (in any spelling, or named in
`Connection`) can neither imitate nor remove a field of the relay.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tunnelctl.http1.fields import loose_name, safe_trailers
from tunnelrelay.policy import cookies, header_names
from tunnelrelay.policy.header_names import FORGED, HARMLESS, REQUEST, RESPONSE

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from tunnelctl.http1.head import RequestHead
    from tunnelrelay.model import Field
    from tunnelrelay.policy.own_address import OwnAddress
    from tunnelrelay.policy.rules import Policy

_ALL_BUT_COOKIES = (b'"cache"', b'"clientHints"', b'"executionContexts"', b'"storage"')
"""All values of Clear-Site-Data that `"*"` includes, except cookies."""
_DIRECTIVE = re.compile(rb'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
"""Matches one Cache-Control directive: a comma inside a quoted string does not end it (RFC 9111 section 5.2)."""


def request_block(
    head: RequestHead,
    *,
    forwarded: bytes,
    identity: bytes,
    policy: Policy,
    upgrade: bytes = b"",
    spent: frozenset[bytes] = frozenset(),
    forged: list[bytes] | None = None,
    origin: bytes = b"",
) -> bytes:
    """Return the request head to send to the upstream: request line and field lines, without framing and the empty
    line.

    Args:
        forwarded: Complete lines for `X-Forwarded-For`, `-Proto` and `-Host`.
        identity: Complete lines about the signed-in visitor; b"" for none.
        upgrade: Protocol to switch to; b"" for none.
        spent: Names of fields that only the relay uses, in lower case; they are not forwarded.
        forged: List that gets the names of relay-only fields that the visitor sent.
        origin: The endpoint's public address, as for `response_block`; needed only if `policy.own` is set.
    """
    unwanted = _unwanted(head, policy)
    if spent:
        unwanted = unwanted | spent
    target = head.target if head.target[:1] == b"/" else origin_form(head.target)
    parts = [head.method, b" ", target, b" HTTP/1.1\r\n"]
    if policy.host_header is not None:
        parts.append(b"Host: %b\r\n" % policy.host_header)
    kinds = REQUEST
    fields = _without(head.fields, unwanted) if unwanted else head.fields
    if policy.own is not None:
        fields = _with_own_address(fields, policy.own, origin)
    for name, value in fields:
        kind = kinds[name]
        if not kind:
            parts += (name, b": ", value, b"\r\n")
        elif kept := _admit_from_visitor(kind, value, policy):
            parts += (name, b": ", kept, b"\r\n")
        elif kind == FORGED and forged is not None:
            forged.append(name)
    parts += (policy.request_edit.add, forwarded, identity)
    if upgrade:
        parts.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % upgrade)
    return b"".join(parts)


def request_trailers(head: RequestHead, trailers: list[Field], *, policy: Policy) -> list[Field]:
    """Return the trailers to send to the upstream: those that would be forwarded as headers, and are allowed as
    trailers.
    """
    unwanted = _unwanted(head, policy)
    kept = safe_trailers(_without(trailers, unwanted) if unwanted else trailers)
    return [field for field in kept if not REQUEST[field[0]]]


def response_trailers(trailers: list[Field], *, policy: Policy) -> list[Field]:
    """Return the trailers to send to the visitor."""
    unwanted = policy.response_edit.remove
    kept = safe_trailers(_without(trailers, unwanted) if unwanted else trailers)
    return [field for field in kept if not RESPONSE[field[0]]]


def response_block(fields: list[Field], *, policy: Policy, host: bytes, origin: bytes, upgrade: bytes = b"") -> bytes:
    """Return the field lines to send to the visitor, without framing and the empty line.

    Args:
        host: The endpoint's host name in lower case, without port.
        origin: The endpoint's public address: scheme, host, and port unless it is the default.
        upgrade: Protocol of a 101 response; b"" for none.
    """
    if policy.response_edit.remove:
        fields = _without(fields, policy.response_edit.remove)
    parts: list[bytes] = []
    specials: list[int] = []
    kinds = RESPONSE
    for name, value in fields:
        kind = kinds[name]
        if not kind:
            parts += (name, b": ", value, b"\r\n")
            continue
        specials.append(kind)
        if kind == header_names.CONNECTION and value not in HARMLESS:
            fields = _without_named(fields)
            return response_block(fields, policy=policy, host=host, origin=origin, upgrade=upgrade)
        if kind == header_names.SET_COOKIE and specials.count(kind) > cookies.MAX_SET_COOKIES:
            continue
        if kept := _admit_from_upstream(kind, value, policy, host, origin):
            parts += (name, b": ", kept, b"\r\n")
    parts.append(policy.response_edit.add)
    if policy.vary:
        parts.append(policy.vary)
        if header_names.CACHE_CONTROL not in specials and b"cache-control" not in policy.response_edit.adds:
            parts.append(b"Cache-Control: private, no-cache\r\n")
    if upgrade:
        parts.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % upgrade)
    return b"".join(parts)


def origin_form(target: bytes) -> bytes:
    """Return path and query of a request target.

    Absolute-form is only for proxies (RFC 9112 section 3.2.2); `*` is kept.
    """
    scheme, has_authority, rest = target.partition(b"://")
    if not has_authority or not scheme.isalpha():
        return target
    _, slash, path = rest.partition(b"/")
    authority, mark, query = rest.partition(b"?")
    if mark and b"/" not in authority:
        return b"/?" + query
    return slash + path or b"/"


def make_private(value: bytes) -> bytes:
    """Return a Cache-Control value that forbids shared caches to store the response (RFC 9111 section 5.2.2.7).

    Otherwise a page of a signed-in visitor, requested as `/account/x.css`, could be served from a cache to others.
    """
    directives = [directive.strip(b" \t") for directive in _DIRECTIVE.findall(value)]
    kept = [directive for directive in directives if directive and not _lets_share(directive.lower())]
    if not {b"private", b"no-store"} & {directive.lower() for directive in kept}:
        kept.insert(0, b"private")
    return b", ".join(kept)


def spare_neighbours(value: bytes) -> bytes:
    """Return a Clear-Site-Data value without cookies; b"" when nothing is left.

    Browsers delete the cookies of the whole registrable domain: one endpoint would sign visitors out of all others.
    """
    kinds = [kind.strip(b" \t") for kind in value.split(b",")]
    named = _ALL_BUT_COOKIES if b'"*"' in kinds else kinds
    return b", ".join(kind for kind in named if kind.lower() != b'"cookies"')


def _lets_share(directive: bytes) -> bool:
    name, has_argument, _ = directive.partition(b"=")
    # `private="field"` keeps only that field private and allows the rest to be stored.
    return name.strip() in (b"public", b"s-maxage") or (name.strip() == b"private" and bool(has_argument))


def _admit_from_visitor(kind: int, value: bytes, policy: Policy) -> bytes:
    """Return the value of a special request field for the upstream; b"" to drop the field."""
    if kind == header_names.COOKIE:
        return cookies.strip(value)
    if kind == header_names.HOST:
        return value if policy.host_header is None else b""
    if kind == header_names.AUTHORIZATION:
        # The upstream must not get the endpoint's password.
        return b"" if policy.basic else value
    if kind == header_names.TE:
        return b"trailers" if b"trailers" in value.lower() else b""
    return b""


def _admit_from_upstream(kind: int, value: bytes, policy: Policy, host: bytes, origin: bytes) -> bytes:
    """Return the value of a special response field for the visitor; b"" to drop the field."""
    if kind == header_names.SET_COOKIE:
        return cookies.admit_set_cookie(value, host) or b""
    if kind == header_names.LOCATION:
        return value if policy.own is None else policy.own.to_visitor(value, origin)
    if kind == header_names.REFRESH:
        return value if policy.own is None else policy.own.refresh_to_visitor(value, origin)
    if kind == header_names.CACHE_CONTROL:
        return make_private(value) if policy.vary else value
    if kind == header_names.CDN_CACHE:
        return b"" if policy.vary else value
    if kind == header_names.CLEAR_SITE_DATA:
        return spare_neighbours(value)
    return b""


def _with_own_address(fields: list[Field], own: OwnAddress, origin: bytes) -> list[Field]:
    """Return the fields with Origin and Referer translated to the app's own address."""
    return [
        (name, own.to_app(value, origin)) if name.lower() in (b"origin", b"referer") else (name, value)
        for name, value in fields
    ]


def _unwanted(head: RequestHead, policy: Policy) -> frozenset[bytes]:
    """Return the names (as by `loose_name`) of the request fields to drop: those of the owner's rules, and those in
    `Connection`.
    """
    removed = policy.request_edit.remove
    if head.connection in HARMLESS:
        return removed
    # `Connection` must not remove Host: the request must go to the host it was checked for.
    return removed | {loose_name(token) for token in head.connection_tokens()} - {b"host", b"te"}


def _without_named(fields: list[Field]) -> list[Field]:
    """Return the fields without Connection and the fields it names (RFC 9110 section 7.6.1)."""
    values = [value for name, value in fields if loose_name(name) == b"connection"]
    named = {loose_name(token.strip()) for value in values for token in value.split(b",")}
    return _without(fields, named | {b"connection"})


def _without(fields: list[Field], unwanted: AbstractSet[bytes]) -> list[Field]:
    return [field for field in fields if loose_name(field[0]) not in unwanted]
