"""The signed assertion an app receives with every request of a signed-in visitor, and the keys to check it with.

A short-lived JWT (ES256) whose audience is the endpoint's own address: a local app can tell what came through the
relay, for whom, from everything else that reaches its port, without trusting header names.
"""

import secrets
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey

from tunnelrelay.model import Identity
from tunnelrelay.oidc.secret_files import SecretFileError, read_private_file, write_private_file

ASSERTION_SECONDS = 120
"""Life of an assertion. It is signed again at half of this, so an app always has a minute of slack."""
ALGORITHM = "ES256"


class AssertionSigner:
    """Signs assertions with the relay's own key.

    Args:
        issuer: What `iss` says: the relay's own address, below which the key is published.
    """

    def __init__(self, key: ECKey, *, issuer: str) -> None:
        self._key = key
        self._issuer = issuer
        self._header = {"alg": ALGORITHM, "kid": key.thumbprint()}

    @classmethod
    def generate(cls, *, issuer: str) -> "AssertionSigner":
        """A signer with a fresh key, not kept anywhere."""
        return cls(ECKey.generate_key("P-256"), issuer=issuer)

    @classmethod
    def load_or_create(cls, path: Path, *, issuer: str) -> "AssertionSigner":
        """A signer with the key in a file (mode 0600), which is made when missing.

        Raises:
            SecretFileError: When the file cannot be read or holds no such key.
        """
        key = ECKey.generate_key("P-256")
        try:
            write_private_file(path, key.as_pem(private=True))
        except FileExistsError:
            key = _read_key(path)
        return cls(key, issuer=issuer)

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
        return jwt.encode(self._header, claims, self._key, algorithms=[ALGORITHM])

    def jwks(self) -> dict[str, list[dict[str, Any]]]:
        """The public key as a JWK set (RFC 7517 section 5)."""
        public: dict[str, Any] = dict(self._key.as_dict(private=False))
        return {"keys": [{**public, "use": "sig", "alg": ALGORITHM, "kid": self._header["kid"]}]}


def _read_key(path: Path) -> ECKey:
    try:
        key = ECKey.import_key(read_private_file(path))
    except ValueError as error:
        raise SecretFileError(f"{path} holds no private key; hint: move it away and a new one is made") from error
    if key.curve_name != "P-256" or not key.is_private:
        raise SecretFileError(f"{path} holds no private P-256 key; hint: move it away and a new one is made")
    return key
