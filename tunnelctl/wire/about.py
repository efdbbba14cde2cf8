"""What the relay tells an agent about the visitor of one stream: the payload of an ABOUT frame, as JSON.

Only tunnels that ask for it (`Bind.inspect`, `Join.inspect`) are told. It holds no credentials, and of a login's claims
only those that are named here.
"""

import msgspec

MAX_ABOUT_TEXT = 300
"""Characters of each text. JSON needs up to six bytes for a character: a payload is 11 KB at most."""

NO_LOGIN, BASIC, PUBLIC_PATH, PREFLIGHT = "open", "basic", "public_path", "preflight"
SESSION, BEARER, JWT = "session", "bearer", "jwt"
"""How a visitor can be let in (`About.how`)."""

_encode = msgspec.json.Encoder().encode


class About(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who sent a request, which rule let them in, and how long the relay took to find that out.

    Attributes:
        address: IP address of the visitor.
        subject, email, name: Of the visitor who signed in, or the holder of the token; "" without one. The address only
            when the provider vouches for it.
        rule: The rule that let them in, for people: `domain acme.com`.
        how: By what they came in: `session` (a login), `bearer` (an access token of the login's provider), `jwt`
            (another issuer's token), `basic` (a password), `public_path`, `preflight`, or `open` (nothing was asked
            for). Later relays may say others.
        gate_ns: Nanoseconds from the request's head to this frame: the checks, and waiting for a login's data or for
            the tunnel.
    """

    address: str
    subject: str = ""
    email: str = ""
    name: str = ""
    rule: str = ""
    how: str = NO_LOGIN
    gate_ns: int = 0


def pack_about(about: About) -> bytes:
    """The payload of an ABOUT frame. Texts that are too long are cut."""
    texts = (about.address, about.subject, about.email, about.name, about.rule, about.how)
    if sum(map(len, texts)) > MAX_ABOUT_TEXT:
        address, subject, email, name, rule, how = (text[:MAX_ABOUT_TEXT] for text in texts)
        about = About(
            address=address, subject=subject, email=email, name=name, rule=rule, how=how, gate_ns=about.gate_ns
        )
    return _encode(about)


def unpack_about(payload: bytes) -> About | None:
    """Read the payload of an ABOUT frame; None when it is not one. It is for people, so that is no reason to fail."""
    try:
        return msgspec.json.decode(payload, type=About)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
