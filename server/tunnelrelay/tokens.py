"""Agents' tokens: how one is made, what is kept of it, and how one that is shown is checked."""

import hashlib
import secrets
import string
import time

from tunnelrelay.model import Token
from tunnelrelay.store.base import Store

PREFIX = "tt_"
"""Tells people and secret scanners what they have found; our own logs' redactor looks for it too."""

SECRET_BYTES = 32
"""256 bits. Nothing can be guessed, so the digest needs no salt and no slow hash."""

LENGTH = len(PREFIX) + 43
"""43 base-62 digits hold 32 bytes."""

MAX_OWNER_LENGTH = 64
"""Owners stand in tables, logs and metrics' neighbours; a name needs no more."""

_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_OWNER_CHARS = frozenset(string.ascii_letters + string.digits + "._@+-")


def mint(owner: str, at: float) -> tuple[str, Token]:
    """A new token: the text to show once, and the record to keep."""
    number = int.from_bytes(secrets.token_bytes(SECRET_BYTES))
    digits = []
    for _ in range(LENGTH - len(PREFIX)):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return PREFIX + "".join(digits), Token(id="tok_" + secrets.token_hex(6), owner=owner, created_at=at)


def digest(text: str) -> bytes:
    """What the store keeps.

    Look-up by digest leaks nothing through its timing: whoever measures learns about SHA-256 of what they sent, and
    cannot steer that towards the digest of a token they do not have.
    """
    return hashlib.sha256(text.encode()).digest()


def is_well_formed(text: str) -> bool:
    """True for what could be a token: garbage never costs a look into the store."""
    return len(text) == LENGTH and text.startswith(PREFIX) and text.isascii() and text[len(PREFIX) :].isalnum()


def owner_problem(owner: str) -> str:
    """Why this cannot be an owner, or ""."""
    if not owner or len(owner) > MAX_OWNER_LENGTH:
        return f"an owner has 1 to {MAX_OWNER_LENGTH} characters"
    if not _OWNER_CHARS.issuperset(owner) or owner[0] == "-":
        return "an owner is made of letters, digits and . _ @ + - and does not begin with -"
    return ""


async def authenticate(store: Store, text: str) -> Token | None:
    """The good token that was shown, or None: unknown, revoked and malformed are the same to the caller.

    Raises:
        StoreError: Nobody can tell; refuse.
    """
    return await store.token_by_digest(digest(text)) if is_well_formed(text) else None


async def create(store: Store, owner: str) -> tuple[str, Token]:
    """Makes and keeps a token. Returns its text, which exists nowhere else, and its record."""
    text, token = mint(owner, time.time())
    await store.add_token(token, digest(text))
    return text, token


async def has_good_token(store: Store) -> bool:
    """True when at least one agent could connect."""
    return any(token.revoked_at is None for token in await store.tokens())
