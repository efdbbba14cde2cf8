"""Identity assertions: the signed JWT that an app receives with each request of a signed-in visitor, and the signing
keys.

An assertion is a short-lived JWT (ES256) whose audience is the endpoint's own address. With it a local app can tell
requests that came through the relay from others that reach its port, without trusting header names.

A key is published a day before it signs and until a day after it last signed, so that an app that caches the published
keys for hours never meets an unknown one; `rotation.py` adds and removes keys.
"""

import secrets
from pathlib import Path
from typing import Any

import msgspec
from joserfc import jwt
from joserfc.jwk import ECKey

from tunnelrelay.keys.key_files import KeyFile, SecretFileError, read_private_file
from tunnelrelay.keys.keyring import KeyRefused
from tunnelrelay.model import Identity

ASSERTION_SECONDS = 120
"""Seconds for which an assertion is valid. A new one is signed after half of this time, so an app always has a minute
left."""
ALGORITHM = "ES256"
FILE_NAME = "assertion.json"
OLD_FILE_NAME = "assertion.pem"
"""Name of the file with a single key, as relays wrote it before keys were rotated."""
AHEAD_SECONDS = 86_400.0
"""Seconds for which a key is published before it signs. Apps may cache the keys for an hour; some do for a day."""
KEEP_SECONDS = 86_400.0
"""Seconds for which a key stays published after a newer one signs: far longer than an assertion is valid."""
MAX_KEYS = 100
_HINT = "move it away and a new one is made"


class SigningKey(msgspec.Struct, frozen=True, kw_only=True):
    """A private signing key as a JWK (RFC 7517), with the time from which it signs."""

    kty: str
    crv: str
    x: str
    y: str
    d: str
    kid: str
    signs_from: float

    @classmethod
    def of(cls, key: ECKey, signs_from: float) -> "SigningKey":
        """Return the signing key of an EC key, with its thumbprint as the key id (RFC 7638)."""
        parts = {name: str(value) for name, value in key.as_dict(private=True).items() if name in _PARTS}
        return cls(**parts, kid=key.thumbprint(), signs_from=signs_from)

    @property
    def key(self) -> ECKey:
        """Return the private key. Raises ValueError when the JWK contains none."""
        return ECKey.import_key({name: getattr(self, name) for name in _PARTS})

    @property
    def public(self) -> dict[str, str]:
        """Return the public key as a JWK, with which apps verify assertions."""
        shown = {name: getattr(self, name) for name in _PARTS if name != "d"}
        return {**shown, "use": "sig", "alg": ALGORITHM, "kid": self.kid}

    def __repr__(self) -> str:
        """Leave out the private key."""
        return f"SigningKey(kid={self.kid!r})"


_PARTS = ("kty", "crv", "x", "y", "d")


class SigningKeys(msgspec.Struct, frozen=True):
    """All signing keys of a relay, at least one, in the order in which they sign; also the format of the file."""

    keys: tuple[SigningKey, ...]

    @classmethod
    def generate(cls) -> "SigningKeys":
        """Return a single new key that signs at once and is stored nowhere."""
        return cls((SigningKey.of(ECKey.generate_key("P-256"), 0.0),))

    @classmethod
    def parse(cls, text: bytes) -> "SigningKeys":
        """Parse the keys from their JSON text.

        Raises:
            SecretFileError: The text is not such JSON, or a key is not on P-256.
        """
        try:
            found = msgspec.json.decode(text, type=cls)
            is_good = bool(found.keys) and all(_is_private_p256(item.key) for item in found.keys)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
            is_good = False
        if not is_good:
            raise SecretFileError("there are no private P-256 keys in it", _HINT)
        return cls(tuple(sorted(found.keys, key=lambda item: item.signs_from)))

    @classmethod
    def file(cls, path: Path) -> "KeyFile[SigningKeys]":
        """Return the file of the keys. A single key in the file of an older release is taken over."""
        old = path.with_name(OLD_FILE_NAME)
        return KeyFile(
            path,
            parse=cls.parse,
            make=lambda: _from_old(old) or cls.generate(),
            made=lambda: old.unlink(missing_ok=True),
        )

    def dump(self) -> bytes:
        """Return the keys as JSON text. With it, anyone can sign as the relay."""
        return msgspec.json.encode(self)

    def signing(self, now: float) -> SigningKey:
        """Return the key that signs now: the newest whose start time has passed, or the first when there is none."""
        return next((item for item in reversed(self.keys) if item.signs_from <= now), self.keys[0])

    def is_due(self, now: float, every: float) -> bool:
        """Return whether the next key must be published now, so that the newest signs no longer than `every` seconds.

        False while a key waits for its start time: keys change at most once a day, however short `every` is.
        """
        newest = self.keys[-1].signs_from
        return newest <= now and newest + every - AHEAD_SECONDS <= now

    def with_new_key(self, now: float) -> "SigningKeys":
        """Return the keys and a new one, which is published at once and signs after `AHEAD_SECONDS`.

        Raises:
            KeyRefused: There are too many keys.
        """
        if len(self.keys) >= MAX_KEYS:
            raise KeyRefused(f"there are {MAX_KEYS} signing keys already")
        return SigningKeys((*self.keys, SigningKey.of(ECKey.generate_key("P-256"), now + AHEAD_SECONDS)))

    def without(self, kid: str) -> "SigningKeys":
        """Return the keys without the one with this id.

        Apps refuse its signatures once they have fetched the keys again.

        Raises:
            KeyRefused: The key is the newest, or no key has this id.
        """
        if kid == self.keys[-1].kid:
            raise KeyRefused(f"{kid} is the newest key")
        kept = tuple(item for item in self.keys if item.kid != kid)
        if len(kept) == len(self.keys):
            raise KeyRefused(f"there is no key {kid}")
        return SigningKeys(kept)

    def without_aged(self, now: float) -> "SigningKeys":
        """Return the keys without those that stopped signing more than `KEEP_SECONDS` ago."""
        pairs = zip(self.keys, self.keys[1:], strict=False)
        kept = [item for item, successor in pairs if successor.signs_from + KEEP_SECONDS > now]
        return SigningKeys((*kept, self.keys[-1]))


class AssertionSigner:
    """Signs identity assertions with the relay's own keys.

    Args:
        issuer: Value of `iss`: the relay's own address, below which the keys are published.
    """

    def __init__(self, keys: SigningKeys, *, issuer: str) -> None:
        self._issuer = issuer
        self._opened: dict[str, ECKey] = {}
        self.adopt(keys)

    @classmethod
    def generate(cls, *, issuer: str) -> "AssertionSigner":
        """Return a signer with a new key that is stored nowhere."""
        return cls(SigningKeys.generate(), issuer=issuer)

    @classmethod
    def load_or_create(cls, path: Path, *, issuer: str) -> "AssertionSigner":
        """Return a signer with the keys in a file (mode 0600), which is created when missing.

        Raises:
            SecretFileError: The file cannot be read, or contains no such keys.
        """
        return cls(SigningKeys.file(path).load_or_create(), issuer=issuer)

    def adopt(self, keys: SigningKeys) -> None:
        """Replace the keys in use by those read from the changed file."""
        self.keys = keys
        self._opened = {item.kid: self._opened.get(item.kid) or item.key for item in keys.keys}

    def sign(self, identity: Identity, *, audience: str, now: float) -> str:
        """Return the assertion for an identity at an endpoint.

        Args:
            audience: The endpoint's address without a path; apps must refuse assertions for another address.
            now: Unix time.
        """
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "aud": audience,
            "sub": identity.subject,
            "idp": identity.issuer,
            "iat": int(now),
            "exp": int(now) + ASSERTION_SECONDS,
            "jti": secrets.token_hex(8),
        }
        if identity.email:
            claims["email"] = identity.email
        if identity.name:
            claims["name"] = identity.name
        if identity.groups:
            claims["groups"] = list(identity.groups)
        kid = self.keys.signing(now).kid
        return jwt.encode({"alg": ALGORITHM, "kid": kid}, claims, self._opened[kid], algorithms=[ALGORITHM])

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """Return the public keys as a JWK set (RFC 7517 section 5): past, current and next ones."""
        return {"keys": [item.public for item in self.keys.keys]}


def _from_old(path: Path) -> SigningKeys | None:
    """Return the single key in the file of a relay without key rotation; None when there is no such file."""
    if not path.exists():
        return None
    try:
        key = ECKey.import_key(read_private_file(path))
    except ValueError as error:
        raise SecretFileError(f"{path} holds no private key", _HINT) from error
    if not _is_private_p256(key):
        raise SecretFileError(f"{path} holds no private P-256 key", _HINT)
    return SigningKeys((SigningKey.of(key, 0.0),))


def _is_private_p256(key: ECKey) -> bool:
    return key.curve_name == "P-256" and key.is_private
