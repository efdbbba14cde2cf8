"""The signed assertion an app receives with every request of a signed-in visitor, and the keys to check it with.

A short-lived JWT (ES256) whose audience is the endpoint's own address. By it a local app can tell requests that came
through the relay from all others that reach its port, without trusting header names.

A key is published a day before it signs and a day after it has ceased to, so that an app which keeps the published keys
for hours never meets one it does not know: `rotation.py` does it.
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
"""Life of an assertion. It is signed again at half of this, so an app always has a minute of slack."""
ALGORITHM = "ES256"
FILE_NAME = "assertion.json"
OLD_FILE_NAME = "assertion.pem"
"""One key, as a relay from before rotation kept it."""
AHEAD_SECONDS = 86_400.0
"""How long a key is published before it signs. We let apps keep the keys for an hour; some keep them for a day."""
KEEP_SECONDS = 86_400.0
"""How long a key is published after another one signs: far longer than an assertion lives."""
MAX_KEYS = 100
_HINT = "move it away and a new one is made"


class SigningKey(msgspec.Struct, frozen=True, kw_only=True):
    """One private key, as a JWK (RFC 7517) with the time from which it signs."""

    kty: str
    crv: str
    x: str
    y: str
    d: str
    kid: str
    signs_from: float

    @classmethod
    def of(cls, key: ECKey, signs_from: float) -> "SigningKey":
        """The key, named by its thumbprint (RFC 7638)."""
        parts = {name: str(value) for name, value in key.as_dict(private=True).items() if name in _PARTS}
        return cls(**parts, kid=key.thumbprint(), signs_from=signs_from)

    @property
    def key(self) -> ECKey:
        """The private key. Raises ValueError when the JWK holds none."""
        return ECKey.import_key({name: getattr(self, name) for name in _PARTS})

    @property
    def public(self) -> dict[str, str]:
        """The public key, with which apps check assertions."""
        shown = {name: getattr(self, name) for name in _PARTS if name != "d"}
        return {**shown, "use": "sig", "alg": ALGORITHM, "kid": self.kid}

    def __repr__(self) -> str:
        """Leave out the secret."""
        return f"SigningKey(kid={self.kid!r})"


_PARTS = ("kty", "crv", "x", "y", "d")


class SigningKeys(msgspec.Struct, frozen=True):
    """All signing keys of one relay, at least one, in the order in which they sign; also the form of the file."""

    keys: tuple[SigningKey, ...]

    @classmethod
    def generate(cls) -> "SigningKeys":
        """One fresh key that signs at once, not kept anywhere."""
        return cls((SigningKey.of(ECKey.generate_key("P-256"), 0.0),))

    @classmethod
    def parse(cls, text: bytes) -> "SigningKeys":
        """The keys from their JSON text.

        Raises:
            SecretFileError: When it is not that, or a key is not on P-256.
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
        """The keys' file. The single key file of a release before rotation is taken over."""
        old = path.with_name(OLD_FILE_NAME)
        return KeyFile(
            path,
            parse=cls.parse,
            make=lambda: _from_old(old) or cls.generate(),
            made=lambda: old.unlink(missing_ok=True),
        )

    def dump(self) -> bytes:
        """The keys as JSON text. A reader of it can sign as the relay."""
        return msgspec.json.encode(self)

    def signing(self, now: float) -> SigningKey:
        """The key that signs now: the newest whose time has come, or the first when none has."""
        return next((item for item in reversed(self.keys) if item.signs_from <= now), self.keys[0])

    def is_due(self, now: float, every: float) -> bool:
        """Whether the next key must be published, so that the newest signs no longer than `every` seconds.

        Never while one is waiting to sign: keys change once a day at most, however short `every` is.
        """
        newest = self.keys[-1].signs_from
        return newest <= now and newest + every - AHEAD_SECONDS <= now

    def with_new_key(self, now: float) -> "SigningKeys":
        """The keys and a new one, which is published at once and signs after `AHEAD_SECONDS`.

        Raises:
            KeyRefused: There are too many.
        """
        if len(self.keys) >= MAX_KEYS:
            raise KeyRefused(f"there are {MAX_KEYS} signing keys already")
        return SigningKeys((*self.keys, SigningKey.of(ECKey.generate_key("P-256"), now + AHEAD_SECONDS)))

    def without(self, kid: str) -> "SigningKeys":
        """The keys without one. Apps refuse what it signed once they have read the keys again.

        Raises:
            KeyRefused: It is the newest, or there is none of this name.
        """
        if kid == self.keys[-1].kid:
            raise KeyRefused(f"{kid} is the newest key")
        kept = tuple(item for item in self.keys if item.kid != kid)
        if len(kept) == len(self.keys):
            raise KeyRefused(f"there is no key {kid}")
        return SigningKeys(kept)

    def without_aged(self, now: float) -> "SigningKeys":
        """The keys without those that stopped signing long ago."""
        pairs = zip(self.keys, self.keys[1:], strict=False)
        kept = [item for item, successor in pairs if successor.signs_from + KEEP_SECONDS > now]
        return SigningKeys((*kept, self.keys[-1]))


class AssertionSigner:
    """Signs assertions with the relay's own keys.

    Args:
        issuer: What `iss` says: the relay's own address, below which the keys are published.
    """

    def __init__(self, keys: SigningKeys, *, issuer: str) -> None:
        self._issuer = issuer
        self._opened: dict[str, ECKey] = {}
        self.adopt(keys)

    @classmethod
    def generate(cls, *, issuer: str) -> "AssertionSigner":
        """A signer with a fresh key, not kept anywhere."""
        return cls(SigningKeys.generate(), issuer=issuer)

    @classmethod
    def load_or_create(cls, path: Path, *, issuer: str) -> "AssertionSigner":
        """A signer with the keys in a file (mode 0600), which is made when missing.

        Raises:
            SecretFileError: When the file cannot be read or holds no such keys.
        """
        return cls(SigningKeys.file(path).load_or_create(), issuer=issuer)

    def adopt(self, keys: SigningKeys) -> None:
        """Use the keys of a newer reading of the file."""
        self.keys = keys
        self._opened = {item.kid: self._opened.get(item.kid) or item.key for item in keys.keys}

    def sign(self, identity: Identity, *, audience: str, now: float) -> str:
        """The assertion for one identity at one endpoint.

        Args:
            audience: The endpoint's address, without a path: an app must refuse assertions made for another.
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
        """The public keys as a JWK set (RFC 7517 section 5): those that signed, the one that signs, the next."""
        return {"keys": [item.public for item in self.keys.keys]}


def _from_old(path: Path) -> SigningKeys | None:
    """The one key of a relay from before rotation, None when there is no such file."""
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
