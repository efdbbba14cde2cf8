"""Makes agents' tokens, stores them as digests, and looks them up.

API keys and one-time codes have the same form, with other prefixes.
"""

import hashlib
import secrets
import string
import time
from typing import Any

from tunnelrelay.ids import new_id
from tunnelrelay.model import Token
from tunnelrelay.store.base import TokenStore

PREFIX = "tt_"
"""Tells people and secret scanners what they have found; our own logs' redactor looks for it too."""

API_KEY_PREFIX, CODE_PREFIX = "ta_", "tc_"
"""Of what programs show to the API, and of what signs a user in to the dashboard once."""

SECRET_BYTES = 32
"""256 bits. Nothing can be guessed, so the digest needs no salt and no slow hash."""

DIGITS = 43
"""43 base-62 digits hold 32 bytes."""

LENGTH = len(PREFIX) + DIGITS
"""Of a whole token, as of a whole key or code: their prefixes are as long."""

DEFAULT_OWNER = "default"
"""The owner of tokens that are made without naming one."""

MAX_OWNER_LENGTH = 64
"""Owners stand in tables, logs and metrics' neighbours; a name needs no more."""

_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_OWNER_CHARS = frozenset(string.ascii_letters + string.digits + "._@+-")


def mint(owner: str, at: float, **fields: Any) -> tuple[str, Token]:
    """A new token: the text to show once, and the record to keep.

    Args:
        fields: More fields of `Token`.
    """
    return new_secret(PREFIX), Token(id=new_id("credential", at), owner=owner, created_at=at, **fields)


def new_secret(prefix: str) -> str:
    """A random secret with a prefix that names its kind."""
    number = int.from_bytes(secrets.token_bytes(SECRET_BYTES))
    digits = []
    for _ in range(DIGITS):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return prefix + "".join(digits)


def digest(text: str) -> bytes:
    """The digest of a token, which the store keeps in its place.

    The timing of a look-up by digest tells an attacker only about SHA-256 of what they sent, which they cannot steer
    towards the digest of an unknown token.
    """
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def is_well_formed(text: str, prefix: str = PREFIX) -> bool:
    """Whether a text has the form of a token. Others are refused without a look-up in the store."""
    return (
        len(text) == len(prefix) + DIGITS
        and text.startswith(prefix)
        and text.isascii()
        and text[len(prefix) :].isalnum()
    )


def owner_problem(owner: str) -> str:
    """Why this cannot be an owner, or ""."""
    if not owner or len(owner) > MAX_OWNER_LENGTH:
        return f"an owner has 1 to {MAX_OWNER_LENGTH} characters"
    if not _OWNER_CHARS.issuperset(owner) or owner[0] == "-":
        return "an owner is made of letters, digits and . _ @ + - and does not begin with -"
    return ""


def has_expired(token: Token, now: float) -> bool:
    """Whether the token has expired."""
    return token.expires_at is not None and token.expires_at <= now


async def find(store: TokenStore, text: str) -> Token | None:
    """The token with this text, if it was not revoked; also an expired one.

    Raises:
        StoreError: It cannot be read.
    """
    return await store.token_by_digest(digest(text)) if is_well_formed(text) else None


async def create(store: TokenStore, owner: str, **fields: Any) -> tuple[str, Token]:
    """Make and store a token. Returns its text, which is stored nowhere, and its record.

    Args:
        fields: More fields of `Token`.
    """
    text, token = mint(owner, time.time(), **fields)
    await store.add_token(token, digest(text))
    return text, token


async def has_good_token(store: TokenStore) -> bool:
    """True when at least one agent could connect."""
    now = time.time()
    return any(token.revoked_at is None and not has_expired(token, now) for token in await store.tokens())
