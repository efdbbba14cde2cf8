"""The token of a run: its holder enters at the run's own endpoint without a login, until the run ends."""

import hashlib
import secrets

from tunnelctl.secret import Secret

PREFIX = "tr_"


def new_run_token() -> Secret:
    """Return a new token with 256 random bits."""
    return Secret(PREFIX + secrets.token_hex(32))


def digest(token: Secret) -> str:
    """Return the SHA-256 of a token in hex, which the relay gets instead of the token."""
    return hashlib.sha256(token.reveal().encode()).hexdigest()
