"""Filters header fields in both directions: hop-by-hop fields, forged fields about the visitor, and the relay's own
fields are removed.

On the hot path: one pass, and what a name means (header_names.py) is looked up once per spelling. Stripping comes
first and always, then the relay adds its own, so that nothing a visitor sends (in whatever spelling, or named in
`Connection`) can be taken for it or take it away.
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
"""What `"*"` stands for in Clear-Site-Data, without the cookies."""
_DIRECTIVE = re.compile(rb'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
"""One Cache-Control directive: a comma inside a quoted string does not end it (RFC 9111 section 5.2)."""


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
    """Returns the head to send to the upstream: request line and field lines, without framing and the empty line.

    Args:
        forwarded: Ready lines for `X-Forwarded-For`, `-Proto` and `-Host`.
        identity: Ready lines about who is signed in; b"" for no one.
        upgrade: Protocol to ask the upstream for; b"" for none.
        spent: Names of fields that were for the relay alone, lower-case.
        forged: Gets the names of relay-only fields that the visitor sent.
        origin: The endpoint's public address, as for `response_block`; only needed where `policy.own` is set.
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
    """Returns the trailers to send to the upstream: those that would be sent on as headers, and may be trailers."""
    unwanted = _unwanted(head, policy)
    kept = safe_trailers(_without(trailers, unwanted) if unwanted else trailers)
    return [field for field in kept if not REQUEST[field[0]]]


def response_trailers(trailers: list[Field], *, policy: Policy) -> list[Field]:
    """Returns the trailers to send to the visitor."""
    unwanted = policy.response_edit.remove
    kept = safe_trailers(_without(trailers, unwanted) if unwanted else trailers)
    return [field for field in kept if not RESPONSE[field[0]]]


def response_block(fields: list[Field], *, policy: Policy, host: bytes, origin: bytes, upgrade: bytes = b"") -> bytes:
    """Returns the field lines to send to the visitor, without framing and the empty line.

    Args:
        host: The endpoint's host name, lower-case, without port.
        origin: The endpoint's public address: scheme, host, and port where it is not the scheme's own.
        upgrade: Protocol switched to by this 101; b"" for none.
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
    """Returns path and query of a target. Absolute-form is for proxies (RFC 9112 section 3.2.2); `*` stays."""
    scheme, has_authority, rest = target.partition(b"://")
    if not has_authority or not scheme.isalpha():
        return target
    _, slash, path = rest.partition(b"/")
    authority, mark, query = rest.partition(b"?")
    if mark and b"/" not in authority:
        return b"/?" + query
    return slash + path or b"/"


def make_private(value: bytes) -> bytes:
    """Returns a Cache-Control value that lets no shared cache store the answer (RFC 9111 section 5.2.2.7).

    Else a page of one signed-in visitor, asked for as `/account/x.css`, is served from a cache to others.
    """
    directives = [directive.strip(b" \t") for directive in _DIRECTIVE.findall(value)]
    kept = [directive for directive in directives if directive and not _lets_share(directive.lower())]
    if not {b"private", b"no-store"} & {directive.lower() for directive in kept}:
        kept.insert(0, b"private")
    return b", ".join(kept)


def spare_neighbours(value: bytes) -> bytes:
    """Returns a Clear-Site-Data value without cookies, b"" when nothing else is left.

    Browsers empty the jar of the whole registrable domain: one endpoint would sign visitors out of all others.
    """
    kinds = [kind.strip(b" \t") for kind in value.split(b",")]
    named = _ALL_BUT_COOKIES if b'"*"' in kinds else kinds
    return b", ".join(kind for kind in named if kind.lower() != b'"cookies"')


def _lets_share(directive: bytes) -> bool:
    name, has_argument, _ = directive.partition(b"=")
    # `private="field"` keeps just that field private and lets the rest be stored.
    return name.strip() in (b"public", b"s-maxage") or (name.strip() == b"private" and bool(has_argument))


def _admit_from_visitor(kind: int, value: bytes, policy: Policy) -> bytes:
    """What the upstream gets of a request field that is not plain; b"" for nothing."""
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
    """What the visitor gets of a response field that is not plain; b"" for nothing."""
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
    """The fields with Origin and Referer translated to the app's own address."""
    return [
        (name, own.to_app(value, origin)) if name.lower() in (b"origin", b"referer") else (name, value)
        for name, value in fields
    ]


def _unwanted(head: RequestHead, policy: Policy) -> frozenset[bytes]:
    """Loose names that the owner removes from requests, or that the visitor says are for one hop."""
    removed = policy.request_edit.remove
    if head.connection in HARMLESS:
        return removed
    # `Connection` must not remove Host: the request must arrive for the host it was judged for.
    return removed | {loose_name(token) for token in head.connection_tokens()} - {b"host", b"te"}


def _without_named(fields: list[Field]) -> list[Field]:
    """Without the Connection fields and what they name (RFC 9110 section 7.6.1)."""
    values = [value for name, value in fields if loose_name(name) == b"connection"]
    named = {loose_name(token.strip()) for value in values for token in value.split(b",")}
    return _without(fields, named | {b"connection"})


def _without(fields: list[Field], unwanted: AbstractSet[bytes]) -> list[Field]:
    return [field for field in fields if loose_name(field[0]) not in unwanted]
