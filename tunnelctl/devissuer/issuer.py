"""The test issuer: discovery, code flow with PKCE, client credentials, keys and userinfo. START HERE: `DevIssuer`.

It checks all that a relay could do wrong (PKCE with S256, a code used once, the same redirect URI in both requests, the
client's secret), but lets everyone sign in as any user. Nothing is stored; codes stay in memory for a minute.

Authlib's grants are not used: they do not require PKCE of clients with a secret, and their interface for ID tokens
differs between the releases that this package allows. joserfc signs the tokens.
"""

import hmac
import secrets
import time
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from tunnelctl.devissuer import pages
from tunnelctl.devissuer.users import DevUser
from tunnelctl.localapi.guard import host_of, is_this_machine
from tunnelctl.localapi.message import ApiAnswer, ApiRequest, json_answer, text_answer

PATH = "/unsafe-dev-issuer"
"""Path of the issuer's URL; it marks the issuer as unsafe in flags, tokens, sessions and logs."""
CLIENT_SECRET = "unsafe-dev-secret"  # noqa: S105  # known to everyone, as the page says
"""The client secret, the same for every client."""
ALGORITHM = "RS256"
TOKEN_SECONDS = 3600
CODE_SECONDS = 60.0
MAX_CODES = 1000
"""Maximum unused authorization codes; when there are more, the oldest is deleted."""


class OAuthError(Exception):
    """A request is refused with an error code of OAuth (RFC 6749 sections 4.1.2.1 and 5.2)."""

    def __init__(self, code: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.status = status


class NotRedirectable(Exception):
    """An authorization request lacks a client or a permitted redirect URI, so that the error is shown on a page
    instead.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationRequest:
    """The parameters of a request to the authorization endpoint."""

    client_id: str
    redirect_uri: str
    state: str
    nonce: str = field(repr=False)
    scope: str
    challenge: str
    audience: str


@dataclass(frozen=True, slots=True)
class _Grant:
    """The data of an authorization code that was issued and not used yet."""

    request: AuthorizationRequest
    user: DevUser
    ends_at: float
    signed_in_at: int


class DevIssuer:
    """An OpenID provider for tests, which lets everyone sign in as any of its users.

    Args:
        origin: `http://localhost:PORT`.
        users: The users that can be chosen, at least one; no two may have the same `sub`.
        note: Function that writes one line to the log.
        clock: Function that returns Unix time.
        monotonic: Function that returns monotonic seconds.

    Attributes:
        issuer: The issuer's URL, as in its tokens.
    """

    def __init__(
        self,
        origin: str,
        users: Sequence[DevUser],
        *,
        note: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.issuer = origin + PATH
        self._users = {user.sub: user for user in users}
        self._note = note
        self._clock = clock
        self._monotonic = monotonic
        self._key = RSAKey.generate_key(2048, {"kid": f"unsafe-{secrets.token_hex(4)}"})
        self._grants: dict[str, _Grant] = {}
        self._routes: Mapping[tuple[str, str], Callable[[ApiRequest], ApiAnswer]] = {
            ("GET", ""): lambda request: pages.start(self.issuer),
            ("GET", "/.well-known/openid-configuration"): lambda request: json_answer(self.metadata()),
            ("GET", "/jwks"): lambda request: json_answer(self._jwks()),
            ("GET", "/authorize"): self._ask_who,
            ("POST", "/authorize"): self._sign_in,
            ("POST", "/token"): self._token,
            ("GET", "/userinfo"): self._userinfo,
            ("POST", "/userinfo"): self._userinfo,
        }

    async def answer(self, request: ApiRequest) -> ApiAnswer:
        """Return the response to one HTTP request."""
        if not is_this_machine(host_of(request.host)):
            # A website whose host name resolves to this machine could otherwise sign its visitor in at a relay here
            # (DNS rebinding).
            return text_answer("This test issuer answers to localhost and loopback addresses only.", 421)
        origin = request.fields.get("origin")
        # The own pages' forms have the origin "null", as the pages send no referrer; so have forms in another site's
        # sandboxed frame, which only Sec-Fetch-Site tells apart.
        is_foreign = request.fields.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
        if request.method == "POST" and (is_foreign or origin not in (None, "null", f"http://{request.host}")):
            return text_answer("Another site's page may not post here.", 403)
        path = request.path.rstrip("/")
        found = {method for method, name in self._routes if PATH + name == path}
        if not found:
            return pages.problem(f"There is nothing here. The issuer is {self.issuer}", 404)
        method = "GET" if request.method == "HEAD" else request.method
        if method not in found:
            return text_answer("method not allowed", 405)
        return self._routes[method, path.removeprefix(PATH)](request)

    def metadata(self) -> dict[str, Any]:
        """Return the discovery document (OpenID Connect Discovery 1.0)."""
        here = self.issuer
        return {
            "issuer": here,
            "authorization_endpoint": f"{here}/authorize",
            "token_endpoint": f"{here}/token",
            "userinfo_endpoint": f"{here}/userinfo",
            "jwks_uri": f"{here}/jwks",
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "client_credentials"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "code_challenge_methods_supported": ["S256"],
            "scopes_supported": ["openid", "profile", "email", "groups"],
            "claims_supported": sorted({"sub", *(name for user in self._users.values() for name in user.claims)}),
            "authorization_response_iss_parameter_supported": True,
        }

    def _jwks(self) -> dict[str, Any]:
        return {"keys": [{**self._key.as_dict(private=False), "use": "sig", "alg": ALGORITHM}]}

    # The authorization endpoint

    def _ask_who(self, request: ApiRequest) -> ApiAnswer:
        try:
            params = _once(request.query)
            client_id, redirect_uri = _where(params)
        except (OAuthError, NotRedirectable) as error:
            return pages.problem(str(error))
        try:
            asked = _authorization(params, client_id, redirect_uri)
            if params.get("prompt") == "none":
                raise OAuthError("login_required", "there is no session here, each time someone is chosen")
        except OAuthError as error:
            return self._back(redirect_uri, params.get("state", ""), error=error.code, description=error.description)
        return pages.choose_user(
            tuple(self._users.values()), client_id=asked.client_id, request=request.query, path=f"{PATH}/authorize"
        )

    def _sign_in(self, request: ApiRequest) -> ApiAnswer:
        try:
            form = _once(request.body.decode("latin-1"))
            params = _once(form.get("request", ""))
            asked = _authorization(params, *_where(params))
            user = self._users[form.get("user", "")]
        except (OAuthError, NotRedirectable, KeyError) as error:
            return pages.problem(f"This is not the form that was shown ({error})")
        code = secrets.token_urlsafe(32)
        while len(self._grants) >= MAX_CODES:
            del self._grants[next(iter(self._grants))]
        self._grants[code] = _Grant(asked, user, self._monotonic() + CODE_SECONDS, int(self._clock()))
        self._note(f"{user.sub} signed in at the client {asked.client_id}")
        return self._back(asked.redirect_uri, asked.state, code=code)

    def _back(self, redirect_uri: str, state: str, *, description: str = "", **answer: str) -> ApiAnswer:
        """Return a redirect to the client with a code or an error (RFC 6749 section 4.1.2, RFC 9207)."""
        params = {**answer, "error_description": description, "state": state, "iss": self.issuer}
        query = urlencode({name: value for name, value in params.items() if value})
        joint = "&" if urlsplit(redirect_uri).query else "?"
        return ApiAnswer(
            status=303, fields=(("Location", f"{redirect_uri}{joint}{query}"), ("Referrer-Policy", "no-referrer"))
        )

    # The token endpoint

    def _token(self, request: ApiRequest) -> ApiAnswer:
        try:
            form = _once(request.body.decode("latin-1"))
            client_id, is_public = _client(request, form)
            match form.get("grant_type"):
                case "authorization_code":
                    tokens = self._redeem(form, client_id)
                case "client_credentials":
                    if is_public:
                        raise OAuthError("invalid_client", "client credentials need the client's secret", 401)
                    tokens = self._for_client(form, client_id)
                case _:
                    raise OAuthError("unsupported_grant_type", "authorization_code or client_credentials")
        except OAuthError as error:
            self._note(f"token refused: {error.code}: {error.description}")
            challenge = (("WWW-Authenticate", 'Basic realm="unsafe-dev-issuer"'),) if error.status == 401 else ()
            body = {"error": error.code, "error_description": error.description}
            return json_answer(body, error.status, challenge)
        return json_answer({**tokens, "token_type": "Bearer", "expires_in": TOKEN_SECONDS})

    def _redeem(self, form: Mapping[str, str], client_id: str) -> dict[str, str]:
        """Return the tokens for an authorization code; check the code, redirect URI and PKCE verifier first."""
        grant = self._grants.pop(form.get("code", ""), None)
        if grant is None or self._monotonic() >= grant.ends_at:
            raise OAuthError("invalid_grant", "this code is unknown, was used, or is older than a minute")
        asked = grant.request
        if asked.client_id != client_id:
            raise OAuthError("invalid_grant", "this code was given to another client")
        if form.get("redirect_uri") != asked.redirect_uri:
            raise OAuthError("invalid_grant", "redirect_uri is not the one that the code was sent to")
        if create_s256_code_challenge(form.get("code_verifier", "")) != asked.challenge:
            raise OAuthError("invalid_grant", "code_verifier does not fit code_challenge")
        about = {"sub": grant.user.sub, **grant.user.claims}
        access = self._access_token(about, client_id, asked.audience or client_id, asked.scope)
        more = {"auth_time": grant.signed_in_at} | ({"nonce": asked.nonce} if asked.nonce else {})
        id_token = self._sign({**about, **more, "aud": client_id}, "JWT")
        return {"access_token": access, "id_token": id_token, "scope": asked.scope}

    def _for_client(self, form: Mapping[str, str], client_id: str) -> dict[str, str]:
        """Return the access token for a program (client credentials).

        With the parameter `user` it has that user's claims, so that an endpoint's rules about claims can be tested.
        """
        audience, scope = form.get("audience") or form.get("resource") or client_id, form.get("scope", "")
        about: dict[str, Any] = {"sub": client_id}
        if wanted := form.get("user"):
            found = self._users.get(wanted)
            if found is None:
                raise OAuthError("invalid_request", f"there is no user {wanted[:80]!r}")
            about = {"sub": found.sub, **found.claims}
        self._note(f"the client {client_id} got a token for {audience}")
        return {"access_token": self._access_token(about, client_id, audience, scope)}

    def _access_token(self, about: Mapping[str, Any], client_id: str, audience: str, scope: str) -> str:
        """Return a signed access token (RFC 9068)."""
        return self._sign({**about, "aud": audience, "client_id": client_id, "scope": scope}, "at+jwt")

    def _sign(self, claims: Mapping[str, Any], kind: str) -> str:
        now = int(self._clock())
        times = {"iat": now, "exp": now + TOKEN_SECONDS}
        header = {"alg": ALGORITHM, "kid": self._key.kid, "typ": kind}
        return jwt.encode(header, {**claims, **times, "iss": self.issuer, "jti": secrets.token_hex(8)}, self._key)

    def _userinfo(self, request: ApiRequest) -> ApiAnswer:
        scheme, _, token = request.fields.get("authorization", "").partition(" ")
        try:
            if scheme.lower() != "bearer":
                raise ValueError("no token")
            found = jwt.decode(token.strip(), self._key, algorithms=[ALGORITHM])
            if found.header.get("typ") != "at+jwt" or found.claims["exp"] <= self._clock():
                raise ValueError("no access token, or an old one")
        except (JoseError, ValueError):
            return ApiAnswer(status=401, fields=(("WWW-Authenticate", 'Bearer error="invalid_token"'),))
        own = ("aud", "client_id", "scope", "iat", "exp", "iss", "jti")
        return json_answer({name: value for name, value in found.claims.items() if name not in own})


def is_loopback_uri(uri: str) -> bool:
    """Return whether a URL leads to this machine; names under `localhost` do by definition (RFC 6761 section 6.3)."""
    parts = urlsplit(uri)
    host = host_of(parts.netloc.rpartition("@")[2])
    is_plain = uri.isascii() and uri.isprintable() and " " not in uri and "@" not in parts.netloc and not parts.fragment
    return is_plain and parts.scheme in ("http", "https") and (is_this_machine(host) or host.endswith(".localhost"))


def _once(encoded: str) -> dict[str, str]:
    """Return the parameters of a query or form, each of which may be given only once (RFC 6749 section 3.1)."""
    pairs = parse_qsl(encoded, keep_blank_values=True)
    params = dict(pairs)
    if len(params) != len(pairs):
        raise OAuthError("invalid_request", "a parameter is given twice")
    return params


def _where(params: Mapping[str, str]) -> tuple[str, str]:
    """Return the client id and the redirect URI, which must lead to this machine, so that no code is sent elsewhere."""
    client_id, redirect_uri = params.get("client_id", ""), params.get("redirect_uri", "")
    if not client_id or not client_id.isprintable():
        raise NotRedirectable("client_id is missing")
    try:
        is_here = is_loopback_uri(redirect_uri)
    except ValueError:
        is_here = False
    if not is_here:
        raise NotRedirectable("redirect_uri is missing, or is no address of this machine (localhost, 127.0.0.1)")
    return client_id, redirect_uri


def _authorization(params: Mapping[str, str], client_id: str, redirect_uri: str) -> AuthorizationRequest:
    if params.get("response_type") != "code":
        raise OAuthError("unsupported_response_type", "only response_type=code")
    if params.get("response_mode", "query") != "query":
        raise OAuthError("invalid_request", "only response_mode=query")
    scope = params.get("scope", "")
    if "openid" not in scope.split():
        raise OAuthError("invalid_scope", "scope must contain openid")
    if len(params.get("code_challenge", "")) != 43 or params.get("code_challenge_method") != "S256":
        raise OAuthError("invalid_request", "code_challenge by S256 is required")
    return AuthorizationRequest(
        client_id=client_id,
        redirect_uri=redirect_uri,
        state=params.get("state", ""),
        nonce=params.get("nonce", ""),
        scope=scope,
        challenge=params["code_challenge"],
        audience=params.get("audience", ""),
    )


def _client(request: ApiRequest, form: Mapping[str, str]) -> tuple[str, bool]:
    """Return the id of the client that makes a token request, and whether the client is public, without a secret.

    Raises:
        OAuthError: The client's secret is wrong, or the request has no client id.
    """
    authorization = request.fields.get("authorization")
    if authorization is None:
        client_id, secret = form.get("client_id", ""), form.get("client_secret")
    else:
        client_id, secret = _basic(authorization)
    if not client_id or (secret is not None and not hmac.compare_digest(secret.encode(), CLIENT_SECRET.encode())):
        raise OAuthError("invalid_client", f"the secret of every client here is {CLIENT_SECRET}", 401)
    return client_id, secret is None


def _basic(authorization: str) -> tuple[str, str]:
    """Return the id and secret from HTTP Basic, in which both are form-encoded (RFC 6749 section 2.3.1)."""
    scheme, _, encoded = authorization.partition(" ")
    try:
        text = b64decode(encoded, validate=True).decode() if scheme.lower() == "basic" else ""
    except ValueError:  # no base64, no ASCII, or no UTF-8 in it
        text = ""
    client_id, _, secret = text.partition(":")
    return unquote_plus(client_id), unquote_plus(secret)
