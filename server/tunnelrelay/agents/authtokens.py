"""Creates agents' authtokens, stores their digests, and looks tokens up.

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
"""The first characters of every authtoken. People and secret scanners recognise a token by them, and so does the
redactor of the relay's own logs."""

API_KEY_PREFIX, CODE_PREFIX = "ta_", "tc_"
"""The first characters of API keys, and of one-time codes that sign a user in to the dashboard."""

SECRET_BYTES = 32
"""Random bytes of a token: 256 bits cannot be guessed, so its digest needs no salt and no slow hash."""

DIGITS = 43
"""Characters of a token after its prefix: 43 base-62 digits hold 32 bytes."""

LENGTH = len(PREFIX) + DIGITS
"""Characters of a whole token, API key or one-time code; all three prefixes have the same length."""

DEFAULT_OWNER = "default"
"""The owner of a token that is created without naming an owner."""

MAX_OWNER_LENGTH = 64
"""Characters of an owner's name. It is shown in tables and written to every log line of the owner's agents."""

_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_OWNER_CHARS = frozenset(string.ascii_letters + string.digits + "._@+-")


def mint(owner: str, at: float, **fields: Any) -> tuple[str, Token]:
    """Make a new token without storing it. Returns its text, which is shown once, and the record to store.

    Args:
        at: Unix time of its creation.
        fields: More fields of `Token`.
    """
    return new_secret(PREFIX), Token(id=new_id("credential", at), owner=owner, created_at=at, **fields)


def new_secret(prefix: str) -> str:
    """Return a new random secret that begins with this prefix, such as an authtoken or an API key."""
    number = int.from_bytes(secrets.token_bytes(SECRET_BYTES))
    digits = []
    for _ in range(DIGITS):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return prefix + "".join(digits)


def digest(text: str) -> bytes:
    """Return the SHA-256 digest of a token. The store keeps the digest, never the token.

    The timing of a query by digest reveals only how far the digest of the attacker's text matches a stored one, and an
    attacker cannot choose a text by its digest.
    """
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def is_well_formed(text: str, prefix: str = PREFIX) -> bool:
    """Whether a text has a token's form: this prefix and 43 base-62 digits. Other texts are never looked up in the
    store."""
    return (
        len(text) == len(prefix) + DIGITS
        and text.startswith(prefix)
        and text.isascii()
        and text[len(prefix) :].isalnum()
    )


def owner_problem(owner: str) -> str:
    """Return why a text cannot be an owner's name, or "" when it can."""
    if not owner or len(owner) > MAX_OWNER_LENGTH:
        return f"an owner has 1 to {MAX_OWNER_LENGTH} characters"
    if not _OWNER_CHARS.issuperset(owner) or owner[0] == "-":
        return "an owner is made of letters, digits and . _ @ + - and does not begin with -"
    return ""


def has_expired(token: Token, now: float) -> bool:
    """Whether the token has expired at this Unix time. A token without `expires_at` never does."""
    return token.expires_at is not None and token.expires_at <= now


async def find(store: TokenStore, text: str) -> Token | None:
    """Return the record of the token with this text, also when it has expired; None when it is unknown or was revoked.

    Raises:
        StoreError: The store cannot be read.
    """
    return await store.token_by_digest(digest(text)) if is_well_formed(text) else None


async def create(store: TokenStore, owner: str, **fields: Any) -> tuple[str, Token]:
    """Make a token and store its record with its digest. Returns its text, which is stored nowhere, and the record.

    Args:
        fields: More fields of `Token`.
    """
    text, token = mint(owner, time.time(), **fields)
    await store.add_token(token, digest(text))
    return text, token


async def has_good_token(store: TokenStore) -> bool:
    """Whether the store has a token that is neither revoked nor expired, so that an agent could connect."""
    now = time.time()
    return any(token.revoked_at is None and not has_expired(token, now) for token in await store.tokens())
