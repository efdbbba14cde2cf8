"""A provider's public keys (JWK set, RFC 7517): selects the usable ones, and the key for a token."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.jwk import ECKey, OKPKey, RSAKey

from tunnelctl.oidc.base64url import unb64url
from tunnelctl.oidc.errors import ProviderError

MAX_KEYS = 32
MAX_RSA_BITS = 8192
"""Maximum bits of an RSA key. Verifying a signature with 16,384 bits takes 50 times as long as with 2,048, which would
help to overload the relay."""
MIN_RSA_BITS = 2048
MAX_RSA_EXPONENT = 2**32
"""Maximum RSA exponent. Real keys use 65,537; with an exponent of thousands of bits every verification would take
seconds."""
MAX_KID = 256
"""Maximum characters of a key's id (`kid`). Tokens with a longer one are refused, so that such a key is useless."""
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}

PublicKey = RSAKey | ECKey | OKPKey


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """One public key of a provider.

    Attributes:
        kid: The key's id; "" without one. Used only for comparison.
        algorithms: Signature algorithms that the key may verify.
        size: Total characters of the key's numbers in the JWK set.
    """

    kid: str
    algorithms: frozenset[str]
    key: PublicKey
    size: int


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of a provider."""

    keys: tuple[ProviderKey, ...] = ()

    def candidate(self, kid: str | None, algorithm: str) -> ProviderKey | None:
        """Return the key to verify a token with; None when there is no such key.

        Args:
            kid: Key id from the token's header. If it is None, exactly one key must match: trying several would accept
                signatures of an old, leaked key beside the new one.
        """
        fitting = [key for key in self.keys if algorithm in key.algorithms and (kid is None or key.kid == kid)]
        return fitting[0] if len(fitting) == 1 else None


def read_keys(document: Mapping[str, Any]) -> KeySet:
    """Return the usable keys of a JWK set and leave out the others.

    Raises:
        ProviderError: The document is not a JWK set, or is larger than any provider needs.
    """
    keys = document.get("keys")
    if not isinstance(keys, list):
        raise ProviderError("invalid", "the provider's JWK set holds no list of keys")
    if len(keys) > MAX_KEYS:
        raise ProviderError("invalid", f"the provider's JWK set holds {len(keys)} keys, expected at most {MAX_KEYS}")
    return KeySet(tuple(key for key in map(_read_key, keys) if key is not None))


def _read_key(jwk: object) -> ProviderKey | None:
    """Return the key, or None when it is unusable. Only the members of the public key are passed to the library."""
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig":
        return None
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    try:
        key, algorithms = _public_key(jwk)
    except Exception:
        # A hostile key may make the library raise any error; treat the key as unusable.
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
            ec_key.get_op_key("verify")  # decodes the point: raises here if it is not on the curve
            return ec_key, frozenset({_CURVES[curve]})
        case "OKP", "Ed25519":
            return OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": jwk["x"]}), frozenset({"EdDSA", "Ed25519"})
        case _:
            return None, frozenset()


def _has_sane_size(jwk: dict[str, Any]) -> bool:
    """Check the sizes of the numbers before any arithmetic is done with them."""
    modulus, exponent = unb64url(str(jwk.get("n")).rstrip("=")), unb64url(str(jwk.get("e")).rstrip("="))
    if not modulus or not exponent or len(modulus) > MAX_RSA_BITS // 8 + 1 or len(exponent) > 8:
        return False
    n, e = int.from_bytes(modulus), int.from_bytes(exponent)
    return MIN_RSA_BITS <= n.bit_length() <= MAX_RSA_BITS and 3 <= e <= MAX_RSA_EXPONENT and e % 2 == 1
