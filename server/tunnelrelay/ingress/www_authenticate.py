"""Writes the `WWW-Authenticate` of a 401 (RFC 9110 section 11.6.1, RFC 6750 section 3)."""

import re

from tunnelrelay.model import Field
from tunnelrelay.policy.rules import Policy

_UNSPEAKABLE = re.compile(r'[^\x20-\x7e]|["\\]')
"""What may not stand in an `error_description`."""


def challenges(policy: Policy, host: str) -> tuple[Field, ...]:
    """A challenge for each way to authenticate: a token, a login."""
    schemes = [b"Bearer"] * (policy.bearer is not None) + [b"OpenID"] * (policy.connection is not None)
    return tuple((b"WWW-Authenticate", b'%b realm="%b"' % (scheme, host.encode())) for scheme in schemes)


def token_challenge(host: str, reason: str) -> Field:
    """The challenge that names the check which a token failed; the reason repeats nothing of the token."""
    text = f'Bearer realm="{host}", error="invalid_token", error_description="{_UNSPEAKABLE.sub("", reason)}"'
    return b"WWW-Authenticate", text.encode("ascii")
