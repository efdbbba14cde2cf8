"""A provider's public keys (JWK set, RFC 7517): which are fit to check a signature, and which of them fits a token."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.jwk import ECKey, OKPKey, RSAKey

from tunnelctl.oidc.base64url import unb64url
from tunnelctl.oidc.errors import ProviderError

MAX_KEYS = 32
MAX_RSA_BITS = 8192
"""Checking a signature with 16,384 bits takes 50 times as long as with 2,048: a lever against the relay."""
MIN_RSA_BITS = 2048
MAX_RSA_EXPONENT = 2**32
"""Real keys have 65,537. An exponent of thousands of bits makes every check take seconds."""
MAX_KID = 256
"""Characters of a key's name. Tokens that name a longer one are refused, so that such a key is of no use."""
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}

PublicKey = RSAKey | ECKey | OKPKey


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """One key.

    Attributes:
        kid: Its name, "" without one. Only ever compared.
        algorithms: What it may check.
        size: Characters of its numbers, as the provider wrote them.
    """

    kid: str
    algorithms: frozenset[str]
    key: PublicKey
    size: int


@dataclass(frozen=True, slots=True)
class KeySet:
    """A provider's keys as they were fetched."""

    keys: tuple[ProviderKey, ...] = ()

    def candidate(self, kid: str | None, algorithm: str) -> ProviderKey | None:
        """The key to check a token with.

        Args:
            kid: From the token's header. Without it there must be exactly one key that fits: trying several would
                let an old key that leaked vouch beside the new one.
        """
        fitting = [key for key in self.keys if algorithm in key.algorithms and (kid is None or key.kid == kid)]
        return fitting[0] if len(fitting) == 1 else None


def read_keys(document: Mapping[str, Any]) -> KeySet:
    """The fit keys of a JWK set; the others are left out.

    Raises:
        ProviderError: When it is no JWK set, or a larger one than any provider needs.
    """
    keys = document.get("keys")
    if not isinstance(keys, list):
        raise ProviderError("invalid", "the provider's JWK set holds no list of keys")
    if len(keys) > MAX_KEYS:
        raise ProviderError("invalid", f"the provider's JWK set holds {len(keys)} keys, expected at most {MAX_KEYS}")
    return KeySet(tuple(key for key in map(_read_key, keys) if key is not None))


def _read_key(jwk: object) -> ProviderKey | None:
    """The key, or None when it is unfit. Only the members that make up the public key reach the library."""
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig":
        return None
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    try:
        key, algorithms = _public_key(jwk)
    except Exception:
        # Whatever a hostile key makes the library raise: it is no key.
        return None
    named = jwk.get("alg")
    kid = jwk.get("kid", "")
    if key is None or not isinstance(kid, str) or len(kid) > MAX_KID or not isinstance(named, str | None):
        return None
    size = sum(len(jwk[name]) for name in ("n", "e", "x", "y") if isinstance(jwk.get(name), str))
    return ProviderKey(kid, algorithms if named is None else algorithms & {named}, key, size)


def _public_key(jwk: dict[str, Any]) -> tuple[PublicKey | None, frozenset[str]]:
    match jwk.get("kty"), jwk.get("crv"):
        case "RSA", _ if _has_sane_size(jwk):
            key = RSAKey.import_key({"kty": "RSA", "n": jwk["n"], "e": jwk["e"]})
            return key, frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
        case "EC", str(curve) if curve in _CURVES:
            ec_key = ECKey.import_key({"kty": "EC", "crv": curve, "x": jwk["x"], "y": jwk["y"]})
            ec_key.get_op_key("verify")  # decodes the point: one off the curve raises here
            return ec_key, frozenset({_CURVES[curve]})
        case "OKP", "Ed25519":
            return OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": jwk["x"]}), frozenset({"EdDSA", "Ed25519"})
        case _:
            return None, frozenset()


def _has_sane_size(jwk: dict[str, Any]) -> bool:
    """Checked on the numbers themselves, before any arithmetic is done with them."""
    modulus, exponent = unb64url(str(jwk.get("n")).rstrip("=")), unb64url(str(jwk.get("e")).rstrip("="))
    if not modulus or not exponent or len(modulus) > MAX_RSA_BITS // 8 + 1 or len(exponent) > 8:
        return False
    n, e = int.from_bytes(modulus), int.from_bytes(exponent)
    return MIN_RSA_BITS <= n.bit_length() <= MAX_RSA_BITS and 3 <= e <= MAX_RSA_EXPONENT and e % 2 == 1
