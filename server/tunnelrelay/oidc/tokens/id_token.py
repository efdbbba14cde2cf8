"""Checks ID tokens (OpenID Connect Core 3.1.3.7, RFC 8725). Does no I/O; the clock is an argument.

joserfc parses the token and verifies the signature. It accepts keys, headers and JSON that we do not, so this module
first checks the header strictly and chooses the key, and then parses the payload strictly. Claims are checked only
here. Any error, expected or not, makes the token invalid.
"""

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from joserfc.errors import BadSignatureError
from joserfc.jws import JWSRegistry, deserialize_compact

from tunnelctl.oidc.base64url import b64url, unb64url
from tunnelctl.oidc.keys import MAX_KID, MAX_RSA_BITS, KeySet, PublicKey
from tunnelctl.oidc.metadata import ALGORITHMS
from tunnelctl.oidc.strict_json import NotStrictJson, parse_object

MAX_TOKEN = 64 * 1024
"""Maximum characters of a token. Tokens with hundreds of groups reach 20 kB."""
MAX_HEADER = 4 * 1024
LEEWAY = 60
"""Seconds by which the provider's clock may differ from ours."""
MAX_AGE = 600
"""Maximum seconds since `iat`. The token comes directly from the token endpoint: an older one is a replay."""
MAX_SUBJECT = 255
"""Maximum characters of a subject (Core section 2: at most 255 ASCII characters)."""
JWT_KIND = frozenset({"jwt"})
"""Allowed `typ` of ID tokens and signed userinfo. Tokens for other purposes have another `typ` (RFC 8725 section
3.11)."""


class TokenInvalid(Exception):
    """The token is invalid. The message says which check failed and contains no secret."""


class SignInTooOld(TokenInvalid):
    """The visitor authenticated at the provider longer ago than the owner allows (`max_age`)."""


class SignInTooWeak(TokenInvalid):
    """The visitor authenticated with another method than the owner requires (`acr`)."""


class ProviderChanged(TokenInvalid):
    """The signature does not match the known keys.

    The provider may have changed its keys since they were fetched, even with an unchanged key id (`kid`).
    """


class KeyUnknown(ProviderChanged):
    """No key of the set matches the token."""


class AlgorithmUnknown(ProviderChanged):
    """The provider's metadata does not list the token's algorithm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The values that the ID token of a login must have.

    Attributes:
        issuer: Issuer in the provider's metadata.
        algorithms: Algorithms that the provider advertises; any outside `ALGORITHMS` is refused nevertheless.
        code: The authorization code; "" for a token from a refresh.
        now: Unix time.
        is_refresh: The token is from a refresh: it need not repeat the nonce (Core section 12.2).
        max_age: Maximum seconds since the visitor authenticated at the provider; None for any time.
        required_acr: Allowed values of `acr`; empty for any.
    """

    issuer: str
    client_id: str
    nonce: str = field(repr=False)
    algorithms: frozenset[str]
    access_token: str = field(repr=False)
    code: str = field(repr=False)
    now: float
    is_refresh: bool = False
    max_age: int | None = None
    required_acr: frozenset[str] = frozenset()


def check_id_token(token: str, keys: KeySet, expected: Expected) -> dict[str, Any]:
    """Check an ID token and return its claims.

    Raises:
        ProviderChanged: No known key, or no algorithm known to be used, matches the signature.
        TokenInvalid: Any other check failed.
    """
    with strictly():
        claims, algorithm = signed_claims(token, keys, algorithms=expected.algorithms)
        _check_parties(claims, expected)
        _check_times(claims, expected.now)
        _check_login(claims, expected, algorithm)
        check_subject(claims)
        if not expected.is_refresh:
            # A refresh is not a sign-in: its token need not say when and how the visitor authenticated (Core section
            # 12.2).
            check_sign_in(claims, max_age=expected.max_age, required_acr=expected.required_acr, now=expected.now)
    return claims


def check_userinfo(token: str, keys: KeySet, expected: Expected) -> dict[str, Any]:
    """Check a signed userinfo response, which must contain issuer and audience like an ID token, and return its claims
    (Core section 5.3.2).

    It needs no nonce: it came over TLS for this access token, and its `sub` is compared. Any algorithm of `ALGORITHMS`
    is accepted, as a client's userinfo algorithm may differ from that of ID tokens.

    Raises:
        ProviderChanged: No known key, or no algorithm known to be used, matches the signature.
        TokenInvalid: Any other check failed.
    """
    with strictly():
        claims, _ = signed_claims(token, keys, algorithms=frozenset(ALGORITHMS))
        _check_parties(claims, expected)
        if "exp" in claims and expected.now > numeric_date(claims, "exp") + LEEWAY:
            raise TokenInvalid("it has expired")
    return claims


def signed_claims(
    token: str, keys: KeySet, *, algorithms: frozenset[str], kinds: frozenset[str] = JWT_KIND
) -> tuple[dict[str, Any], str]:
    """Verify the signature of a token, and return its claims, which are not checked, and its algorithm.

    Args:
        algorithms: Algorithms that the provider advertises.
        kinds: Allowed values of the header's `typ`, in lower case. A missing one counts as `jwt`.

    Raises:
        ProviderChanged: No known key, or no algorithm known to be used, matches the signature.
        TokenInvalid: Any other check failed.
    """
    with strictly():
        header = _header_of(token)
        algorithm = _check_header(header, algorithms, kinds)
        key = _key_for(header, algorithm, keys)
        try:
            signed = deserialize_compact(token, key, registry=_REGISTRY)
        except BadSignatureError as error:
            raise ProviderChanged("its signature is wrong") from error
        return parse_object(signed.payload, max_bytes=MAX_TOKEN), algorithm


@contextmanager
def strictly() -> Iterator[None]:
    """Turn every exception raised inside into TokenInvalid."""
    try:
        yield
    except TokenInvalid:
        raise
    except NotStrictJson as error:
        raise TokenInvalid(str(error)) from error
    except Exception as error:
        raise TokenInvalid(f"unreadable ({type(error).__name__})") from error


class _Registry(JWSRegistry):
    """Lets joserfc use only the algorithms of `ALGORITHMS`, for tokens up to our own size limits."""

    max_header_length = MAX_HEADER
    max_payload_length = MAX_TOKEN
    max_signature_length = MAX_RSA_BITS // 6 + 4

    def get_alg(self, name: str) -> Any:
        """Return the algorithm; `EdDSA` (RFC 8037) is mapped to `Ed25519` (RFC 9864), the only kind of EdDSA key that
        is accepted.
        """
        return super().get_alg("Ed25519" if name == "EdDSA" else name)


_REGISTRY = _Registry(algorithms=frozenset(ALGORITHMS) - {"EdDSA"} | {"Ed25519"}, strict_check_header=False)
"""Allows header fields that joserfc does not know: providers add their own, and `_check_header` refuses `crit`."""


def _header_of(token: str) -> dict[str, Any]:
    """Parse the header of a compact JWS strictly. joserfc would accept duplicate fields, and characters outside
    base64url in the signature, so that one token could have many spellings. Tokens with five parts (encrypted) are not
    accepted.
    """
    segment = token.partition(".")[0]
    if len(token) > MAX_TOKEN or not token.isascii() or token.count(".") != 2 or len(segment) > MAX_HEADER:
        raise TokenInvalid("not a signed token, or too large")
    header = unb64url(segment)
    if header is None or not unb64url(token.rpartition(".")[2]):
        raise TokenInvalid("a part is missing or not base64url")
    return parse_object(header, max_bytes=MAX_HEADER)


def _check_header(header: dict[str, Any], algorithms: frozenset[str], kinds: frozenset[str]) -> str:
    """Check `alg`, `typ` and extensions of a header, and return the algorithm.

    Keys or URLs of keys in the header (`jwk`, `jku`, `x5u`, `x5c`) come from the sender and are ignored.
    """
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise TokenInvalid("its signature algorithm is not accepted")
    if "crit" in header or "b64" in header:
        raise TokenInvalid("its header demands extensions")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in kinds:
        raise TokenInvalid("its `typ` is that of another kind of token")
    if algorithm not in algorithms:
        raise AlgorithmUnknown("its signature algorithm is none that the provider says it uses")
    return algorithm


def _key_for(header: dict[str, Any], algorithm: str, keys: KeySet) -> PublicKey:
    kid = header.get("kid")
    if kid is not None and (not isinstance(kid, str) or len(kid) > MAX_KID):
        raise TokenInvalid("its `kid` is no key's name")
    key = keys.candidate(kid, algorithm)
    if key is None:
        raise KeyUnknown("no key of the provider fits it")
    return key.key


def _check_parties(claims: dict[str, Any], expected: Expected) -> None:
    """Check issuer and audience exactly. Further audiences are allowed only when `azp` is our client."""
    if claims.get("iss") != expected.issuer:
        raise TokenInvalid("its `iss` is not the provider's issuer")
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    if not isinstance(audiences, list) or not all(isinstance(item, str) for item in audiences):
        raise TokenInvalid("its `aud` is missing or no list of texts")
    if expected.client_id not in audiences:
        raise TokenInvalid("its `aud` does not name this client")
    authorized = claims.get("azp")
    if authorized not in (None, expected.client_id) or (set(audiences) != {expected.client_id} and authorized is None):
        raise TokenInvalid("it was made for another client (`azp`)")


def _check_times(claims: dict[str, Any], now: float) -> None:
    expires_at, issued_at = numeric_date(claims, "exp"), numeric_date(claims, "iat")
    if now > expires_at + LEEWAY:
        raise TokenInvalid("it has expired")
    if issued_at > now + LEEWAY or issued_at < now - MAX_AGE - LEEWAY:
        raise TokenInvalid("its `iat` is not now (is a clock wrong?)")
    if "nbf" in claims and numeric_date(claims, "nbf") > now + LEEWAY:
        raise TokenInvalid("it is not valid yet")


def _check_login(claims: dict[str, Any], expected: Expected, algorithm: str) -> None:
    """Check the nonce, which binds the token to this login: where PKCE is not enforced, a stolen code could be
    injected.
    """
    nonce = claims.get("nonce")
    is_left_out = expected.is_refresh and "nonce" not in claims
    if not is_left_out and not (
        isinstance(nonce, str) and hmac.compare_digest(nonce.encode(), expected.nonce.encode())
    ):
        raise TokenInvalid("its `nonce` is not this login's")
    if "events" in claims:
        raise TokenInvalid("it is a logout token")
    for claim, value in (("at_hash", expected.access_token), ("c_hash", expected.code)):
        is_of_the_login = claim == "c_hash" and expected.is_refresh
        if claim in claims and not is_of_the_login and claims[claim] != _half_hash(value, algorithm):
            raise TokenInvalid(f"its `{claim}` does not match")


def check_sign_in(claims: dict[str, Any], *, max_age: int | None, required_acr: frozenset[str], now: float) -> None:
    """Check when and how the visitor authenticated at the provider, if the owner requires it (Core sections 2 and
    3.1.2.1).

    Raises:
        SignInTooOld: `auth_time` is longer ago than `max_age` seconds.
        SignInTooWeak: The `acr` is not one of those required.
        TokenInvalid: `auth_time` is missing, not an integer, or in the future.
    """
    if max_age is not None:
        signed_in_at = claims.get("auth_time")
        if isinstance(signed_in_at, bool) or not isinstance(signed_in_at, int) or signed_in_at > now + LEEWAY:
            raise TokenInvalid("its `auth_time`, which `max_age` makes necessary, is missing or no time in the past")
        if now > signed_in_at + max_age + LEEWAY:
            raise SignInTooOld("the visitor signed in at the provider too long ago (`auth_time`)")
    acr = claims.get("acr")
    if required_acr and not (isinstance(acr, str) and acr in required_acr):
        raise SignInTooWeak("its `acr` is missing or not one of those required")


def check_subject(claims: dict[str, Any]) -> None:
    """Check that `sub` is a text of 1 to `MAX_SUBJECT` printable characters. Raises TokenInvalid."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= MAX_SUBJECT or not subject.isprintable():
        raise TokenInvalid("its `sub` is missing or unusable")


def _half_hash(value: str, algorithm: str) -> str:
    """Return the left half of a value's hash (Core section 3.1.3.6). Ed25519 uses SHA-512 (errata 2)."""
    bits = algorithm[-3:] if algorithm[-3:] in ("256", "384", "512") else "512"
    digest = hashlib.new(f"sha{bits}", value.encode("ascii")).digest()
    return b64url(digest[: len(digest) // 2])


def numeric_date(claims: dict[str, Any], name: str) -> float:
    """Return a NumericDate (RFC 7519 section 2); raises TokenInvalid for anything else.

    Booleans are excluded, as they are numbers in Python only.
    """
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenInvalid(f"its `{name}` is missing or no number")
    return float(value)
