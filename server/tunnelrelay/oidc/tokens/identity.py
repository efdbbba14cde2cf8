"""Creates an identity from a provider's claims, and the app's header fields from an identity.

Providers may send any JSON: the type of every claim is checked, and values of a wrong type are left out. `policy.rules`
decides whether a person may enter.
"""

import json
from collections.abc import Iterable
from urllib.parse import quote

from tunnelctl.memo import weight
from tunnelrelay.model import Identity
from tunnelrelay.policy.rules import Claims, groups_of, verified_email

MAX_VALUE = 1024
"""Maximum bytes of one encoded header value. Subjects and names are short; without a limit a provider could fill the
head."""
MAX_GROUPS = 4 * 1024
"""Maximum bytes of the groups' JSON. Groups that do not fit are left out as a whole: a cut name could be another
group's."""
ASSERTION_BYTES = 800
"""Bytes of a header line with an assertion, apart from the person's data: JWT header, signature, times and
addresses."""
_PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")


def identity_of(claims: Claims, *, issuer: str) -> Identity:
    """Return the identity in the claims. `sub` must have been checked before (`id_token.py`).

    The e-mail address is used only when the provider sends `email_verified: true` as a boolean: apps tend to use it as
    the user's key, and an address that anyone can enter at the provider would allow account takeover (nOAuth).
    """
    return Identity(
        issuer=issuer,
        subject=_text(claims.get("sub")),
        email=verified_email(claims),
        name=_text(claims.get("name")) or _text(claims.get("preferred_username")),
        groups=fitting_groups(groups_of(claims)),
    )


def identity_fields(identity: Identity) -> bytes:
    """Return the identity as header lines, each ended by CRLF, without the assertion.

    Characters outside `%x21-7E`, and `%` itself, are percent-encoded, so that no value can contain a line break or be
    read in two ways. Groups are a JSON array, so that a group named `a,admins` stays one group.
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
    """Return the bytes of memory that an identity takes together with its header lines, including the assertion."""
    texts = (identity.issuer, identity.subject, identity.email, identity.name, identity.groups)
    assertion = ASSERTION_BYTES + len(json.dumps(texts)) * 4 // 3
    return weight(texts) + len(identity_fields(identity)) + assertion


def fitting_groups(groups: Iterable[str]) -> tuple[str, ...]:
    """Return the first groups, as many as fit into a header value."""
    kept: list[str] = []
    size = len("[]")
    for group in groups:
        size += len(json.dumps(group)) + len(",")
        if size > MAX_GROUPS:
            break
        kept.append(group)
    return tuple(kept)


def _encoded(text: str) -> str:
    """Percent-encode a text and cut it at `MAX_VALUE`, but never inside an escape."""
    encoded = quote(text, safe=_PLAIN)
    while len(encoded) > MAX_VALUE:
        text = text[: min(len(text) - 1, MAX_VALUE)]
        encoded = quote(text, safe=_PLAIN)
    return encoded


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
