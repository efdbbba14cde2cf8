"""What the relay reports to an agent about the visitor of one stream: the payload of an ABOUT frame, as JSON.

Only tunnels that ask for it (`Bind.inspect`, `Join.inspect`) get it. It contains no credentials, and only those claims
of a login that are named here.
"""

import msgspec

MAX_ABOUT_TEXT = 300
"""Maximum characters of each text. JSON needs up to six bytes for a character, so a payload has at most 11 KB."""

NO_LOGIN, BASIC, PUBLIC_PATH, PREFLIGHT = "open", "basic", "public_path", "preflight"
SESSION, BEARER, JWT, RUN_TOKEN = "session", "bearer", "jwt", "run_token"
"""Values of `About.how` with which other modules compare it."""

_encode = msgspec.json.Encoder().encode


class About(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The visitor of a request, the rule that let the visitor in, and the time that the relay needed for the decision.

    Attributes:
        address: IP address of the visitor.
        subject, email, name: Claims about the signed-in visitor, or the token's holder; "" without one. The e-mail
            address is only set if the provider reports it as verified.
        rule: The rule that let the visitor in, for display: `domain acme.com`.
        how: How the visitor was let in: `session` (a login), `bearer` (an access token of the login's provider),
            `jwt` (another issuer's token), `run_token` (the token of the agent's own run), `basic` (a password),
            `public_path`, `preflight`, or `open` (there are no rules). Later relays may send other words.
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
    """Return the payload of an ABOUT frame. Texts that are too long are cut."""
    texts = (about.address, about.subject, about.email, about.name, about.rule, about.how)
    if sum(map(len, texts)) > MAX_ABOUT_TEXT:
        address, subject, email, name, rule, how = (text[:MAX_ABOUT_TEXT] for text in texts)
        about = About(
            address=address, subject=subject, email=email, name=name, rule=rule, how=how, gate_ns=about.gate_ns
        )
    return _encode(about)


def unpack_about(payload: bytes) -> About | None:
    """Decode the payload of an ABOUT frame; None when it is invalid, as the data is only for display and must not cause
    errors.
    """
    try:
        return msgspec.json.decode(payload, type=About)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
