"""A provider's metadata (OpenID Connect Discovery 1.0, RFC 8414): what we take from it and what must hold. Pure."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx
import msgspec
from authlib.oidc.discovery import get_well_known_url

from tunnelctl.oidc.errors import ProviderError
from tunnelctl.policy import values

ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
)  # fmt: skip
"""Signatures we accept on ID tokens. Asymmetric only: with HMAC in the list a public key could serve as the secret."""
MAX_ENDPOINT = 2_048
"""Characters of one endpoint's URL. Real ones have some 100."""
MAX_PROMPTS, MAX_PROMPT = 32, 64
"""How many values of `prompt` are noted, and how long they may be. The standards know five."""


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider says about itself, checked.

    Attributes:
        issuer: Exact from here on: tokens must carry this string.
        algorithms: Advertised for ID tokens and accepted by us.
        auth_method: How we show our secret at the token endpoint.
        offers_groups: It knows the scope `groups`.
        sends_iss: It promised `iss` in its authorization answers (RFC 9207).
        prompts: Values of `prompt` it says it knows; empty when it does not say.
        end_session_endpoint: Where visitors sign out there; "" without one.
        revocation_endpoint: Where a token can be given back (RFC 7009); "" without one.
        warnings: What will probably break a login, for the owner.
    """

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str
    algorithms: frozenset[str]
    auth_method: str
    offers_groups: bool
    sends_iss: bool
    prompts: frozenset[str] = frozenset()
    end_session_endpoint: str = ""
    revocation_endpoint: str = ""
    warnings: tuple[str, ...] = ()


def discovery_url(issuer: str) -> str:
    """Where the metadata of an issuer lies.

    Raises:
        ProviderError: When the issuer cannot be one of a single organisation.
    """
    if problem := values.issuer(issuer):
        raise ProviderError("invalid", problem)
    _parsed(issuer, "issuer")
    return str(get_well_known_url(issuer, external=True))


def read_metadata(document: Mapping[str, Any], *, configured: str, has_secret: bool, allow_http: bool) -> Metadata:
    """The metadata in a discovery document.

    Args:
        configured: The issuer the owner gave. One slash more or less at its end is forgiven; nothing else is.
        has_secret: The client has a secret to show.
        allow_http: Plain http endpoints are fine.

    Raises:
        ProviderError: When a login with this provider could not be safe, or not work at all.
    """
    issuer, algorithms = _signer(document, configured)
    if "code" not in texts_of(document, "response_types_supported", ("code",)):
        raise ProviderError("invalid", "the provider does not offer the authorization code flow")
    return Metadata(
        issuer=issuer,
        authorization_endpoint=_endpoint(document, "authorization_endpoint", allow_http),
        token_endpoint=_endpoint(document, "token_endpoint", allow_http),
        jwks_uri=_endpoint(document, "jwks_uri", allow_http),
        userinfo_endpoint=_endpoint(document, "userinfo_endpoint", allow_http)
        if "userinfo_endpoint" in document
        else "",
        algorithms=algorithms,
        auth_method=_auth_method(document, has_secret),
        offers_groups="groups" in texts_of(document, "scopes_supported"),
        sends_iss=document.get("authorization_response_iss_parameter_supported") is True,
        prompts=_prompts(document),
        end_session_endpoint=_optional_endpoint(document, "end_session_endpoint", allow_http),
        revocation_endpoint=_optional_endpoint(document, "revocation_endpoint", allow_http),
        warnings=_warnings(document),
    )


def read_issuer(document: Mapping[str, Any], *, configured: str, allow_http: bool) -> Metadata:
    """The metadata of an issuer whose tokens are taken, without logins: CI systems have no login to publish.

    Args:
        configured, allow_http: As for `read_metadata`.

    Raises:
        ProviderError: When its tokens could not be checked.
    """
    issuer, algorithms = _signer(document, configured)
    return Metadata(
        issuer=issuer,
        authorization_endpoint="",
        token_endpoint="",
        jwks_uri=_endpoint(document, "jwks_uri", allow_http),
        userinfo_endpoint="",
        algorithms=algorithms,
        auth_method="none",
        offers_groups=False,
        sends_iss=False,
    )


def texts_of(document: Mapping[str, Any], name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The texts in a list of the document, other things left out; the default when there is no such list."""
    value = document.get(name)
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else default


def _signer(document: Mapping[str, Any], configured: str) -> tuple[str, frozenset[str]]:
    """Who signs, and with which of the algorithms that are accepted here."""
    issuer = _text(document, "issuer")
    if issuer.removesuffix("/") != configured.removesuffix("/"):
        raise ProviderError("invalid", f"the provider calls itself {issuer[:200]!r}, not {configured[:200]!r}")
    algorithms = frozenset(texts_of(document, "id_token_signing_alg_values_supported", ("RS256",))) & set(ALGORITHMS)
    if not algorithms:
        raise ProviderError("invalid", "the provider signs ID tokens with no algorithm that is accepted here")
    return issuer, algorithms


def _auth_method(document: Mapping[str, Any], has_secret: bool) -> str:
    """`client_secret_basic` unless only the form is offered (RFC 6749 section 2.3.1); `none` for public clients."""
    if not has_secret:
        return "none"
    offered = texts_of(document, "token_endpoint_auth_methods_supported", ("client_secret_basic",))
    for method in ("client_secret_basic", "client_secret_post"):
        if method in offered:
            return method
    raise ProviderError("invalid", "the provider takes client secrets neither by Basic nor in the form")


def _prompts(document: Mapping[str, Any]) -> frozenset[str]:
    values = texts_of(document, "prompt_values_supported")[:MAX_PROMPTS]
    return frozenset(value for value in values if len(value) <= MAX_PROMPT)


def _warnings(document: Mapping[str, Any]) -> tuple[str, ...]:
    """S256 is sent whatever the provider says (RFC 9700 section 2.1.1): there is no falling back to `plain`."""
    methods = document.get("code_challenge_methods_supported")
    if isinstance(methods, list) and "S256" not in methods:
        return ("the provider does not list PKCE method S256, which every login here uses; it may refuse them",)
    return ()


def _endpoint(document: Mapping[str, Any], name: str, allow_http: bool) -> str:
    text = _text(document, name)
    if len(text) > MAX_ENDPOINT:
        raise ProviderError("invalid", f"`{name}` has {len(text)} characters, expected at most {MAX_ENDPOINT}")
    url = _parsed(text, name)
    if url.scheme != "https" and not (allow_http and url.scheme == "http"):
        raise ProviderError("invalid", f"`{name}` in the provider's metadata does not start with https://")
    return text


def _optional_endpoint(document: Mapping[str, Any], name: str, allow_http: bool) -> str:
    """One that logins do without: "" when it is missing or cannot be used."""
    try:
        return _endpoint(document, name, allow_http)
    except ProviderError:
        return ""


def _parsed(text: str, name: str) -> httpx.URL:
    """The URL as the client that will call it reads it. The parser that writes login pages' addresses must agree."""
    try:
        url, other = httpx.URL(text), urlsplit(text)
        host = url.host  # decodes `xn--` labels, and raises of its own where they are none
        is_read_alike = (url.raw_host.decode("ascii"), url.port) == (other.hostname, _port(other))
    except (httpx.InvalidURL, ValueError) as error:
        raise ProviderError("invalid", f"`{name}` is not a URL") from error
    if not is_read_alike:
        raise ProviderError("invalid", f"`{name}` is a URL that two programs would read in two ways")
    if not host or url.userinfo or url.fragment or "#" in text:
        raise ProviderError("invalid", f"`{name}` has no host, or has user information or a fragment")
    return url


def _port(url: SplitResult) -> int | None:
    """The port, None where it is the scheme's own, as httpx has it. Raises ValueError when it is none."""
    return None if (url.scheme, url.port) in (("https", 443), ("http", 80)) else url.port


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or not value or " " in value:
        raise ProviderError("invalid", f"`{name}` is missing from the provider's metadata, or is no URL")
    return value
