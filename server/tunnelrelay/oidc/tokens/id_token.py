"""Checks ID tokens (OpenID Connect Core 3.1.3.7, RFC 8725). Pure: no I/O, the clock is an argument.

joserfc parses the token and checks the signature. It accepts keys, headers and JSON that we do not, so this module
first reads and checks the header strictly and chooses the key, and then reads the payload strictly. Claims are checked
here only. Any error, expected or not, makes the token invalid.
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
"""Characters. Tokens with hundreds of groups reach 20 kB."""
MAX_HEADER = 4 * 1024
LEEWAY = 60
"""Seconds by which the provider's clock may differ from ours."""
MAX_AGE = 600
"""Seconds since `iat`. The token comes straight from the token endpoint: an older one is a replay."""
MAX_SUBJECT = 255
"""Characters (Core section 2: at most 255 ASCII characters)."""
JWT_KIND = frozenset({"jwt"})
"""`typ` of ID tokens and signed userinfo. Tokens for other purposes say so there (RFC 8725 section 3.11)."""


class TokenInvalid(Exception):
    """The token is invalid. The text names the check that failed and holds no secret."""


class SignInTooOld(TokenInvalid):
    """The visitor signed in at the provider longer ago than the owner allows (`max_age`)."""


class SignInTooWeak(TokenInvalid):
    """The visitor signed in by another method than the owner asks for (`acr`)."""


class ProviderChanged(TokenInvalid):
    """The known keys did not sign this token. The provider may have changed them since they were fetched, and may have
    given a new key the name (`kid`) of an old one."""


class KeyUnknown(ProviderChanged):
    """No key of the set fits."""


class AlgorithmUnknown(ProviderChanged):
    """The provider's metadata does not list the algorithm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The values that the ID token of one login must have.

    Attributes:
        issuer: As in the provider's metadata.
        algorithms: Advertised by the provider; anything outside `ALGORITHMS` is refused all the same.
        code: "" for a token that came with a refresh.
        now: Unix time.
        is_refresh: It came with a refresh of this login's tokens: it need not repeat the nonce (Core section 12.2).
        max_age: Seconds since the visitor last signed in at the provider; None for any time.
        required_acr: One of these must be the `acr`; empty for any.
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
    """The claims of a token that passed every check.

    Raises:
        ProviderChanged: It was not signed by a known key, or not by an algorithm known to be used.
        TokenInvalid: Anything else.
    """
    with strictly():
        claims, algorithm = signed_claims(token, keys, algorithms=expected.algorithms)
        _check_parties(claims, expected)
        _check_times(claims, expected.now)
        _check_login(claims, expected, algorithm)
        check_subject(claims)
        if not expected.is_refresh:
            # A refresh is no sign-in: its token may leave out when and how there was one (Core section 12.2).
            check_sign_in(claims, max_age=expected.max_age, required_acr=expected.required_acr, now=expected.now)
    return claims


def check_userinfo(token: str, keys: KeySet, expected: Expected) -> dict[str, Any]:
    """The claims of a signed userinfo answer (Core section 5.3.2), which must name issuer and audience as an ID token.

    It needs no nonce: it came over TLS for this access token, and its `sub` is compared. Any algorithm of `ALGORITHMS`
    is accepted, as a client's userinfo algorithm may differ from that of ID tokens.

    Raises:
        ProviderChanged: It was not signed by a known key, or not by an algorithm known to be used.
        TokenInvalid: Anything else.
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
    """The claims of a token whose signature is valid, and its algorithm. The claims are not checked.

    Args:
        algorithms: Advertised by the provider.
        kinds: What the header's `typ` may be, lower-case. One that is absent stands for `jwt`.

    Raises:
        ProviderChanged: It was not signed by a known key, or not by an algorithm known to be used.
        TokenInvalid: Anything else.
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
    """Turn every exception inside into TokenInvalid."""
    try:
        yield
    except TokenInvalid:
        raise
    except NotStrictJson as error:
        raise TokenInvalid(str(error)) from error
    except Exception as error:
        raise TokenInvalid(f"unreadable ({type(error).__name__})") from error


class _Registry(JWSRegistry):
    """Lets joserfc check the algorithms of `ALGORITHMS` and no others, in tokens up to our own limits."""

    max_header_length = MAX_HEADER
    max_payload_length = MAX_TOKEN
    max_signature_length = MAX_RSA_BITS // 6 + 4

    def get_alg(self, name: str) -> Any:
        """`EdDSA` (RFC 8037) over an Ed25519 key, the only one we accept, is what RFC 9864 calls `Ed25519`."""
        return super().get_alg("Ed25519" if name == "EdDSA" else name)


_REGISTRY = _Registry(algorithms=frozenset(ALGORITHMS) - {"EdDSA"} | {"Ed25519"}, strict_check_header=False)
"""Header fields that it does not know are let pass: providers add their own, and `_check_header` refuses `crit`."""


def _header_of(token: str) -> dict[str, Any]:
    """The header of a compact JWS, read strictly: joserfc takes the last of two fields with one name, and skips what is
    no base64url in a signature, so that one token could be sent in many spellings. Five parts (encrypted tokens) are
    not accepted."""
    segment = token.partition(".")[0]
    if len(token) > MAX_TOKEN or not token.isascii() or token.count(".") != 2 or len(segment) > MAX_HEADER:
        raise TokenInvalid("not a signed token, or too large")
    header = unb64url(segment)
    if header is None or not unb64url(token.rpartition(".")[2]):
        raise TokenInvalid("a part is missing or not base64url")
    return parse_object(header, max_bytes=MAX_HEADER)


def _check_header(header: dict[str, Any], algorithms: frozenset[str], kinds: frozenset[str]) -> str:
    """The algorithm of a header that was checked for `alg`, `typ` and extensions.

    Keys or places of keys in the header (`jwk`, `jku`, `x5u`, `x5c`) are the sender's own word and are ignored.
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
    injected."""
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
    """Check when and how the visitor signed in at the provider (Core sections 2 and 3.1.2.1), where the owner demands
    it.

    Raises:
        SignInTooOld: `auth_time` is longer ago than `max_age` seconds.
        SignInTooWeak: The `acr` is none of those required.
        TokenInvalid: `auth_time` is missing, no integer, or not yet.
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
    """`sub` is a text of 1 to `MAX_SUBJECT` printable characters. Raises TokenInvalid."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= MAX_SUBJECT or not subject.isprintable():
        raise TokenInvalid("its `sub` is missing or unusable")


def _half_hash(value: str, algorithm: str) -> str:
    """Left half of the value's hash (Core section 3.1.3.6). Ed25519 hashes with SHA-512 (errata 2)."""
    bits = algorithm[-3:] if algorithm[-3:] in ("256", "384", "512") else "512"
    digest = hashlib.new(f"sha{bits}", value.encode("ascii")).digest()
    return b64url(digest[: len(digest) // 2])


def numeric_date(claims: dict[str, Any], name: str) -> float:
    """A NumericDate (RFC 7519 section 2); TokenInvalid when it is none.

    Booleans are numbers to Python alone.
    """
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenInvalid(f"its `{name}` is missing or no number")
    return float(value)
