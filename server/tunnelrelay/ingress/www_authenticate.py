"""Writes the `WWW-Authenticate` fields of a 401 response (RFC 9110 section 11.6.1, RFC 6750 section 3)."""

import re

from tunnelrelay.model import Field
from tunnelrelay.policy.rules import Policy

_UNSPEAKABLE = re.compile(r'[^\x20-\x7e]|["\\]')
"""Characters that an `error_description` may not contain (RFC 6750 section 3)."""


def challenges(policy: Policy, host: str) -> tuple[Field, ...]:
    """Return a `WWW-Authenticate` field for each way to authenticate at the endpoint: an access token, a login."""
    schemes = [b"Bearer"] * policy.asks_for_tokens + [b"OpenID"] * (policy.connection is not None)
    return tuple((b"WWW-Authenticate", b'%b realm="%b"' % (scheme, host.encode())) for scheme in schemes)


def token_challenge(host: str, reason: str) -> Field:
    """Return the `WWW-Authenticate` field for a request with an invalid access token.

    Args:
        reason: The check that the token failed; it repeats nothing of the token.
    """
    text = f'Bearer realm="{host}", error="invalid_token", error_description="{_UNSPEAKABLE.sub("", reason)}"'
    return b"WWW-Authenticate", text.encode("ascii")
