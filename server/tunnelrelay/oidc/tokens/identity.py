"""Makes an identity from a provider's claims, and the header fields for the app from an identity.

Providers may send any JSON: the type of every claim is checked, and values of a wrong type are left out. `policy.rules`
judges whether a person may pass.
"""

import json
from collections.abc import Iterable
from urllib.parse import quote

from tunnelctl.memo import weight
from tunnelrelay.model import Identity
from tunnelrelay.policy.rules import Claims, groups_of, verified_email

MAX_VALUE = 1024
"""Bytes of one header value after encoding. Subjects and names are short; a provider could fill the head with more."""
MAX_GROUPS = 4 * 1024
"""Bytes of the groups' JSON. Whole names that do not fit are left out: an app must not read a cut name as another."""
ASSERTION_BYTES = 800
"""Of a header line with an assertion, beside what it says of the person: its head, signature, times and addresses."""
_PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")


def identity_of(claims: Claims, *, issuer: str) -> Identity:
    """The identity in the claims. `sub` must have been checked already (`id_token.py`).

    The e-mail address is taken only when the provider says `email_verified: true`, the boolean: apps tend to take it
    as the user's key, and with an address anyone can type in at the provider that is an account takeover (nOAuth).
    """
    return Identity(
        issuer=issuer,
        subject=_text(claims.get("sub")),
        email=verified_email(claims),
        name=_text(claims.get("name")) or _text(claims.get("preferred_username")),
        groups=fitting_groups(groups_of(claims)),
    )


def identity_fields(identity: Identity) -> bytes:
    """The identity as header lines, each ended by CRLF, without the assertion.

    Values are percent-encoded outside `%x21-7E` (and `%` itself), so that none can hold a line break or be read in two
    ways; groups are a JSON array, so that a group named `a,admins` stays one group.
    """
    user, email, name = _encoded(identity.subject), _encoded(identity.email), _encoded(identity.name)
    lines = [
        f"X-Tunnel-User: {user}",
        f"X-Tunnel-Issuer: {_encoded(identity.issuer)}",
        f"Ngrok-Auth-User-Id: {user}",
    ]
    if email:
        lines += [f"X-Tunnel-Email: {email}", f"Ngrok-Auth-User-Email: {email}"]
    if name:
        lines += [f"X-Tunnel-Name: {name}", f"Ngrok-Auth-User-Name: {name}"]
    if identity.groups:
        lines.append(f"X-Tunnel-Groups: {json.dumps(identity.groups, separators=(',', ':'))}")
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")


def weight_of(identity: Identity) -> int:
    """Bytes of memory that an identity takes together with its header lines, assertion included."""
    texts = (identity.issuer, identity.subject, identity.email, identity.name, identity.groups)
    assertion = ASSERTION_BYTES + len(json.dumps(texts)) * 4 // 3
    return weight(texts) + len(identity_fields(identity)) + assertion


def fitting_groups(groups: Iterable[str]) -> tuple[str, ...]:
    """The first groups, as many as fit a header value."""
    kept: list[str] = []
    size = len("[]")
    for group in groups:
        size += len(json.dumps(group)) + len(",")
        if size > MAX_GROUPS:
            break
        kept.append(group)
    return tuple(kept)


def _encoded(text: str) -> str:
    """Percent-encoded and cut at `MAX_VALUE`, never inside an escape."""
    encoded = quote(text, safe=_PLAIN)
    while len(encoded) > MAX_VALUE:
        text = text[: min(len(text) - 1, MAX_VALUE)]
        encoded = quote(text, safe=_PLAIN)
    return encoded


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
