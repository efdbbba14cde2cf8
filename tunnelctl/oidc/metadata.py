"""Reads a provider's metadata (OpenID Connect Discovery 1.0, RFC 8414) and checks the rules it must meet. Makes no
network calls.
"""

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
"""Signature algorithms accepted on ID tokens. Asymmetric only: if HMAC were allowed, a public key could serve as the
secret."""
MAX_ENDPOINT = 2_048
"""Maximum characters of an endpoint's URL. Real ones have about 100."""
MAX_PROMPTS, MAX_PROMPT = 32, 64
"""Maximum number of `prompt` values that are stored, and maximum characters of each. The standards define five
values."""


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """The metadata of a provider, after all checks.

    Attributes:
        issuer: Issuer that tokens must contain exactly as written here.
        algorithms: Signature algorithms that the provider advertises for ID tokens and the relay accepts.
        auth_method: How the client's secret is sent to the token endpoint.
        offers_groups: The provider supports the scope `groups`.
        sends_iss: The provider promises `iss` in its authorization responses (RFC 9207).
        prompts: Values of `prompt` that the provider supports; empty when it lists none.
        end_session_endpoint: URL for signing visitors out at the provider; "" without one.
        revocation_endpoint: URL for revoking a token (RFC 7009); "" without one.
        warnings: Facts that will probably break logins, for the owner.
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
    """Return the URL of an issuer's discovery document.

    Raises:
        ProviderError: The issuer cannot belong to a single organisation.
    """
    if problem := values.issuer(issuer):
        raise ProviderError("invalid", problem)
    _parsed(issuer, "issuer")
    return str(get_well_known_url(issuer, external=True))


def read_metadata(document: Mapping[str, Any], *, configured: str, has_secret: bool, allow_http: bool) -> Metadata:
    """Read and check the metadata in a discovery document.

    Args:
        configured: The issuer that the owner configured. It may differ from the document's by one slash at the end
            only.
        has_secret: The client has a secret.
        allow_http: Plain http endpoints are allowed.

    Raises:
        ProviderError: A login with this provider would not be safe, or could not work.
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
    """Read the metadata of an issuer that is used for tokens only: CI systems, for example, offer no login.

    Args:
        configured, allow_http: As for `read_metadata`.

    Raises:
        ProviderError: Tokens of this issuer could not be verified.
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
    """Return the strings in a list of the document, skipping other values; the default when the list is missing."""
    value = document.get(name)
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else default


def _signer(document: Mapping[str, Any], configured: str) -> tuple[str, frozenset[str]]:
    """Return the issuer and those of its signature algorithms that are accepted."""
    issuer = _text(document, "issuer")
    if issuer.removesuffix("/") != configured.removesuffix("/"):
        raise ProviderError("invalid", f"the provider calls itself {issuer[:200]!r}, not {configured[:200]!r}")
    algorithms = frozenset(texts_of(document, "id_token_signing_alg_values_supported", ("RS256",))) & set(ALGORITHMS)
    if not algorithms:
        raise ProviderError("invalid", "the provider signs ID tokens with no algorithm that is accepted here")
    return issuer, algorithms


def _auth_method(document: Mapping[str, Any], has_secret: bool) -> str:
    """Return `client_secret_basic`, or `client_secret_post` if only that is offered (RFC 6749 section 2.3.1); `none`
    without a secret.
    """
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
    """Return warnings for the owner.

    S256 is used even if the provider does not list it: `plain` is unsafe (RFC 9700 section 2.1.1).
    """
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
    """Return the URL of an endpoint that logins do not need; "" when it is missing or invalid."""
    try:
        return _endpoint(document, name, allow_http)
    except ProviderError:
        return ""


def _parsed(text: str, name: str) -> httpx.URL:
    """Parse a URL with the parser of the HTTP client; the standard parser, used for login pages, must give the same
    result.
    """
    try:
        url, other = httpx.URL(text), urlsplit(text)
        host = url.host  # decodes `xn--` labels, and raises errors of its own for invalid ones
        is_read_alike = (url.raw_host.decode("ascii"), url.port) == (other.hostname, _port(other))
    except (httpx.InvalidURL, ValueError) as error:
        raise ProviderError("invalid", f"`{name}` is not a URL") from error
    if not is_read_alike:
        raise ProviderError("invalid", f"`{name}` is a URL that two programs would read in two ways")
    if not host or url.userinfo or url.fragment or "#" in text:
        raise ProviderError("invalid", f"`{name}` has no host, or has user information or a fragment")
    return url


def _port(url: SplitResult) -> int | None:
    """Return the URL's port, or None for the scheme's default, as httpx does. Raises ValueError for an invalid port."""
    return None if (url.scheme, url.port) in (("https", 443), ("http", 80)) else url.port


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or not value or " " in value:
        raise ProviderError("invalid", f"`{name}` is missing from the provider's metadata, or is no URL")
    return value
