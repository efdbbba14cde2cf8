"""Authenticates API requests: they need an API key, no foreign `Origin`, and a body of strict JSON.

Every route is behind this middleware, so a new route needs no check of its own. Only the OpenAPI document needs no key;
without a key, an unknown path gets the same 401 as a known one.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunnelctl.oidc.strict_json import NotStrictJson, parse_object
from tunnelrelay.address import PublicAddress
from tunnelrelay.api.links import LOCAL_PREFIX, Links, base_urls
from tunnelrelay.api.problem import problem
from tunnelrelay.model import PageRequest
from tunnelrelay.policy.limits import Buckets, address_key
from tunnelrelay.services.actor import Actor
from tunnelrelay.services.problems import ManageError
from tunnelrelay.web.request_parsing import field_values, page_request_of

SCHEMA_PATH = "/openapi.json"
MAX_BODY = 64 * 1024
"""Bytes of a request's body. The largest that real clients send, an OIDC module with long lists, has a quarter."""
WRONG_KEYS_BURST, WRONG_KEYS_PER_SECOND = 20, 0.2
"""How many wrong keys a client address may send at once, and per second after that. Keys of 256 bits cannot be guessed;
the limit bounds the queries that wrong keys cost the store."""
SAFE_SITES = (b"same-origin", b"none")
"""Values of `Sec-Fetch-Site` that the API accepts. `same-site` is not among them: pages that tunnels serve under the
relay's domain are not trusted."""

FIELDS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)
"""Header fields of every response that does not set them itself: no cache may keep a response, as it holds what only
the key's holder may see, and no browser may render it as a page."""


class Authenticates(Protocol):
    """The part of `services.api_keys` that the middleware needs."""

    async def authenticate(self, text: str, peer: str, request_id: str) -> Actor | None:
        """Return the user that acts with this API key; None when the key is unknown, revoked or expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The authenticated user and the base URL of a request, which every API handler gets."""

    actor: Actor
    links: Links


@dataclass(frozen=True, slots=True)
class AuthRefusal(Exception):
    """Raised when a request is refused before it reaches its route; becomes the response of this error code."""

    code: str
    detail: str
    headers: Mapping[str, str] | None = None


class AuthMiddleware:
    """ASGI middleware around the app with the API's routes: passes on requests with a valid key, refuses all others.

    Args:
        schema: The app that answers at `SCHEMA_PATH`, also without a key.
        monotonic: Returns monotonic seconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        address: PublicAddress,
        keys: Authenticates,
        schema: ASGIApp,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._schema = schema
        self._keys = keys
        self._bases = base_urls(address)
        self._address = address
        self._origin = address.url(address.api_host).encode()
        self._monotonic = monotonic
        self._wrong = Buckets(WRONG_KEYS_BURST, WRONG_KEYS_PER_SECOND)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an authenticated request to the app with the routes; answer any other with an error."""
        page_request = page_request_of(scope)
        guarded = _with_fields(send)
        try:
            app, within, receiving = await self._admit(scope, receive, page_request)
        except AuthRefusal as no:
            headers = dict(no.headers or {})
            await problem(no.code, no.detail, page_request.request_id, headers=headers)(scope, receive, guarded)
        except ManageError as error:
            # The key cannot be looked up, as the store cannot be reached.
            answer = problem(error.code, error.message, page_request.request_id)
            await answer(scope, receive, guarded)
        else:
            await app(within, receiving, guarded)

    async def _admit(self, scope: Scope, receive: Receive, page_request: PageRequest) -> tuple[ASGIApp, Scope, Receive]:
        """Check a request. Returns the app that answers it, with the scope and the `receive` to call it with.

        The body is read only after the key was checked. Raises `AuthRefusal`, or `ManageError` when the store fails.
        """
        self._refuse_other_sites(scope)
        prefix, path = self._split(scope["path"])
        links = Links(self._bases[prefix], self._address)
        within: Scope = {**scope, "path": path, "raw_path": path.encode(), "root_path": ""}
        if path == SCHEMA_PATH:
            return self._schema, within, receive
        actor = await self._authenticate(scope, page_request)
        _refuse_doubles(scope)
        within["tunnel.call"] = Call(actor=actor, links=links)
        return self._app, within, await _strict_body(scope, receive)

    def _split(self, path: str) -> tuple[str, str]:
        if LOCAL_PREFIX in self._bases and path.startswith(LOCAL_PREFIX + "/"):
            return LOCAL_PREFIX, path.removeprefix(LOCAL_PREFIX)
        return "", path

    def _refuse_other_sites(self, scope: Scope) -> None:
        """Raise `AuthRefusal` for requests from other sites' pages.

        This is defence in depth: a browser never adds an API key by itself.
        """
        origins = field_values(scope, b"origin")
        sites = field_values(scope, b"sec-fetch-site")
        if any(origin != self._origin for origin in origins) or any(site not in SAFE_SITES for site in sites):
            raise AuthRefusal("cross_site", "Another site's page may not use the API.")

    async def _authenticate(self, scope: Scope, page_request: PageRequest) -> Actor:
        values = field_values(scope, b"authorization")
        if not values:
            raise _unknown("key_missing", "Send an API key: Authorization: Bearer ta_…")
        whose = address_key(page_request.peer.host)
        if whose and self._wrong.is_empty(whose, self._monotonic()):
            raise AuthRefusal(
                "too_many_wrong_keys", "Too many wrong API keys came from this address.", {"Retry-After": "10"}
            )
        text = _bearer(values)
        actor = await self._keys.authenticate(text, page_request.peer.host, page_request.request_id) if text else None
        if actor is not None:
            return actor
        if whose:
            self._wrong.wait(whose, self._monotonic())
        if text.startswith("tt_"):
            raise _unknown("key_of_agent", "This is an agent's token; the API takes API keys, which begin with ta_.")
        raise _unknown("key_unknown", "This API key is unknown, revoked or expired.")


def _refuse_doubles(scope: Scope) -> None:
    """Raise `AuthRefusal` when a query parameter occurs twice: parsers differ in which value they take."""
    names = [name for name, _ in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)]
    if len(set(names)) != len(names):
        raise AuthRefusal("request_invalid", "A parameter of the query stands there twice.")


def _bearer(values: list[bytes]) -> str:
    """Return the API key of `Authorization: Bearer`; "" unless there is exactly one such header field."""
    scheme, _, text = values[0].partition(b" ")
    if len(values) != 1 or scheme.lower() != b"bearer" or len(text) > 256:
        return ""
    return text.strip().decode("ascii", "replace")


def _unknown(code: str, detail: str) -> AuthRefusal:
    return AuthRefusal(code, detail, {"WWW-Authenticate": 'Bearer realm="api"'})


async def _strict_body(scope: Scope, receive: Receive) -> Receive:
    """Read the whole body and check that it is strict JSON. Returns a `receive` from which the app reads it again."""
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return _replay(message)
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY:
            raise AuthRefusal("body_too_large", f"A body may have {MAX_BODY} bytes.")
    if body:
        _check_type(scope)
        try:
            parse_object(bytes(body), max_bytes=MAX_BODY)
        except NotStrictJson as error:
            raise AuthRefusal(
                "body_malformed", "The body is not one JSON object that every reader reads alike."
            ) from error
    return _replay({"type": "http.request", "body": bytes(body), "more_body": False}, receive)


def _check_type(scope: Scope) -> None:
    """Raise `AuthRefusal` when the body is not declared as JSON: only with other types, such as text/plain, can another
    site's page send a request without a CORS preflight."""
    types = field_values(scope, b"content-type")
    kind = types[0].partition(b";")[0].strip().lower() if len(types) == 1 else b""
    if kind != b"application/json":
        raise AuthRefusal("body_not_json", "Send the body as application/json.")


def _replay(first: Message, receive: Receive | None = None) -> Receive:
    waiting = [first]

    async def replaying() -> Message:
        if waiting or receive is None:
            return waiting.pop() if waiting else first
        return await receive()

    return replaying


def _with_fields(send: Send) -> Send:
    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            names = {name.lower() for name, _ in headers}
            message = {**message, "headers": [*headers, *(pair for pair in FIELDS if pair[0] not in names)]}
        await send(message)

    return sending
