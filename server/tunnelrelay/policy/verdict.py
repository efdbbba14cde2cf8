"""Decides whether a request may pass: `judge` is called for every request to an endpoint with rules.

Order: networks, then password or login. The session was looked up before; this module decides whether it may be used
for *this* request. Browsers treat sibling endpoints under one domain as "same-site" and send SameSite cookies on
requests from another owner's page, so Fetch Metadata and Origin are checked instead. The owner may trust further
origins (`Policy.origins`).
"""

from __future__ import annotations

import binascii
import hmac
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address
from typing import TYPE_CHECKING

from tunnelrelay.model import RequestKind
from tunnelrelay.policy.classify import OWN_SITES, classify, starts_login
from tunnelrelay.policy.exemptions import Exempt

if TYPE_CHECKING:
    from tunnelctl.http1.head import RequestHead
    from tunnelrelay.policy.rules import Policy

_SAFE = frozenset({b"GET", b"HEAD", b"OPTIONS"})


class Allow(Enum):
    """Forward the request."""

    OPEN = "open"
    """No login was needed, and the visitor has none."""
    NAMED = "named"
    """The visitor is signed in, and the upstream gets the visitor's identity."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """Redirect to the provider (303): a person opens a page and is not signed in."""


@dataclass(frozen=True, slots=True)
class Unauthorized:
    """Respond with 401 `login_required`, in the form for this kind of request."""

    kind: RequestKind


@dataclass(frozen=True, slots=True)
class Challenge:
    """Respond with 401 `password_required`: the endpoint has a password that the request did not contain."""


@dataclass(frozen=True, slots=True)
class Deny:
    """Respond with this error code; signing in would not help."""

    code: str


Verdict = Allow | Exempt | SignIn | Unauthorized | Challenge | Deny


def judge(policy: Policy, *, peer_ip: str, head: RequestHead, is_signed_in: bool, origin: bytes) -> Verdict:
    """Decide what to do with a request.

    Args:
        peer_ip: The visitor's address as text, IPv4-mapped addresses as IPv4.
        is_signed_in: The request has a valid session cookie for this host and connection.
        origin: The endpoint's public address, scheme and port included, as a browser writes it in `Origin`.
    """
    if policy.is_open:
        return Allow.OPEN
    if (policy.cidr_allow or policy.cidr_deny) and not network_allows(policy, peer_ip):
        return Deny(policy.refusal)
    if policy.basic:
        return Allow.OPEN if has_password(policy, head) else Challenge()
    if policy.connection is None:
        # Only programs may enter, and this request has no token (see bearer.py).
        return Unauthorized(classify(head)) if policy.asks_for_tokens else Allow.OPEN
    exempt = policy.exemptions.find(head) if policy.exemptions is not None else None
    if exempt is not None and not exempt.yields_to_session:
        return exempt
    if is_signed_in and session_counts(head, origin, policy.origins):
        return Allow.NAMED
    if exempt is not None:
        return exempt
    if not is_signed_in:
        return _ask_for_login(_visit_to_login(head, origin))
    kind = classify(head)
    # Not redirected to a login: the visitor is signed in, and the redirect would loop.
    return _ask_for_login(RequestKind.OTHER if kind is RequestKind.NAVIGATION else kind)


def network_allows(policy: Policy, peer_ip: str) -> bool:
    """Return whether visitors from this address may enter.

    Without rules all may; a text that is not an address may not.
    """
    if not (policy.cidr_allow or policy.cidr_deny):
        return True
    try:
        address = ip_address(peer_ip)
    except ValueError:
        return False
    if address in policy.cidr_deny:
        return False
    return not policy.cidr_allow or address in policy.cidr_allow


def has_password(policy: Policy, head: RequestHead) -> bool:
    """Return whether the request contains one of the endpoint's passwords (RFC 7617). Compares in constant time."""
    values = head.get_all(b"authorization")
    scheme, _, text = values[0].partition(b" ") if len(values) == 1 else (b"", b"", b"")
    if scheme.lower() != b"basic":
        return False
    try:
        pair = binascii.a2b_base64(text.strip(b" "), strict_mode=True)
    except ValueError:
        return False
    digest = hmac.digest(policy.basic_key, pair, "sha256")
    return sum(hmac.compare_digest(digest, good) for good in policy.basic) > 0


def session_counts(head: RequestHead, origin: bytes, others: frozenset[bytes] = frozenset()) -> bool:
    """Return whether a valid session may be used for this request, which another site's page may have sent.

    Args:
        others: Trusted origins of other sites.
    """
    sent_origin = head.get(b"origin")
    if sent_origin is not None and sent_origin in others:
        return True
    if head.upgrade:
        # A websocket handshake has no Fetch Metadata: Origin is the only signal, and every browser sends it.
        return sent_origin == origin
    site = head.get(b"sec-fetch-site")
    if site is not None:
        return site in OWN_SITES or _is_top_level_read(head)
    if sent_origin is not None:
        return sent_origin == origin
    return head.method in _SAFE or _is_own_page(head.get(b"referer"), origin, others)


def _visit_to_login(head: RequestHead, origin: bytes) -> RequestKind:
    """Return the kind of a request without a login. Only page loads by browsers count as navigation."""
    kind = classify(head)
    if kind is RequestKind.NAVIGATION and not starts_login(head, is_secure=origin.startswith(b"https:")):
        return RequestKind.OTHER
    return kind


def _is_own_page(referer: bytes | None, origin: bytes, others: frozenset[bytes]) -> bool:
    """Return whether the endpoint's own page, or one of a trusted origin, sent the request; for browsers without Fetch
    Metadata.

    True without a Referer: a client that sends neither is probably not a browser.
    """
    if referer is None:
        return True
    return any(referer == own or referer.startswith(own + b"/") for own in (origin, *others))


def _is_top_level_read(head: RequestHead) -> bool:
    if head.method not in (b"GET", b"HEAD"):
        return False
    return head.get(b"sec-fetch-mode") == b"navigate" and head.get(b"sec-fetch-dest") == b"document"


def _ask_for_login(kind: RequestKind) -> Verdict:
    match kind:
        case RequestKind.NAVIGATION:
            return SignIn()
        case RequestKind.PREFETCH:
            return Deny("prefetch_refused")
        case RequestKind.PASSED_ON:
            return Unauthorized(RequestKind.FRAME)
        case RequestKind.UPGRADE | RequestKind.FRAME | RequestKind.FORM | RequestKind.OTHER:
            return Unauthorized(kind)
