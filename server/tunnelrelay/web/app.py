"""The relay's own web app: the login callback, the reserved paths of endpoints, and the page of the bare domain.

The app runs behind the ingress, which parses, routes and limits each request and describes it in a `PageRequest`. Each
kind of host has its own small app, so that a path of one host does not exist on another. Dashboard and API are built
elsewhere.
"""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunnelctl.eventlog import EventLog
from tunnelrelay.address import OWN_HSTS_SECONDS, PublicAddress
from tunnelrelay.keys.assertion import AssertionSigner
from tunnelrelay.model import Field, Identity
from tunnelrelay.oidc.login.callback import Endpoints
from tunnelrelay.oidc.login.login import Login
from tunnelrelay.oidc.login.outcomes import redirect
from tunnelrelay.oidc.logout.logout import Logout
from tunnelrelay.oidc.logout.provider_logout import ProviderLogout
from tunnelrelay.pages.cookies import CLEAR_COOKIES_PATH
from tunnelrelay.pages.landing import landing_page
from tunnelrelay.web.login_pages import LoginPages
from tunnelrelay.web.logout_pages import LogoutPages
from tunnelrelay.web.request_parsing import field_values, page_request_of
from tunnelrelay.web.responses import error, response

log = EventLog(__name__)

JWKS_PATH = "/.well-known/tunnel/jwks.json"
RESERVED = "/_tunnel/"
JWKS_SECONDS = 3600
"""Seconds for which apps may cache the assertion keys. A new key is published long before it signs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebApp:
    """The ASGI app for all of the relay's own pages. `app.wiring` creates it."""

    address: PublicAddress
    login: Login
    logout: Logout
    provider_logout: ProviderLogout
    endpoints: Endpoints
    signer: AssertionSigner
    dashboard: ASGIApp | None = None
    api: ASGIApp | None = None
    count_login: Callable[[str], None] = lambda outcome: None
    note_sign_in: Callable[[str, Identity, str], None] = lambda request_id, who, refusal: None

    def build(self) -> ASGIApp:
        """Build the app for the server behind the ingress."""
        logins = LoginPages(
            address=self.address,
            login=self.login,
            endpoints=self.endpoints,
            count_login=self.count_login,
            note_sign_in=self.note_sign_in,
        )
        logouts = LogoutPages(
            logout=self.logout,
            provider_logout=self.provider_logout,
            endpoints=self.endpoints,
            count_login=self.count_login,
        )
        keys = Route(JWKS_PATH, self._keys, methods=["GET"])
        by_kind: dict[str, ASGIApp] = {
            "idp": _app([*logins.at_callback_host(), *logouts.at_callback_host(), keys]),
            "domain": _app([Route("/", self._landing, methods=["GET"]), keys]),
            "dashboard": self.dashboard or _app([]),
            "api": self.api or _app([]),
            "endpoint": _app(
                [
                    *logins.at_endpoint(),
                    *logouts.at_endpoint(),
                    Route(CLEAR_COOKIES_PATH, self._home, methods=["GET", "POST"]),
                ]
            ),
        }

        hsts = self.address.strict_transport(OWN_HSTS_SECONDS).encode()

        async def choose(scope: Scope, receive: Receive, send: Send) -> None:
            if hsts:
                send = _with_field(send, (b"strict-transport-security", hsts))
            page_request = page_request_of(scope)
            # Visitors sign in to the dashboard, and out of it, as at every endpoint.
            is_login = page_request.kind == "dashboard" and scope["path"].startswith(RESERVED)
            kind = "endpoint" if is_login else page_request.kind
            app = by_kind[kind]
            if kind == "endpoint" and field_values(scope, b"service-worker"):
                # A service worker below our paths could respond in our place.
                app = _no_script
            try:
                await app(scope, receive, send)
            except Exception:
                # Starlette has responded with `_broken` and raises the error again; log it here.
                log.exception("own page failed", request_id=page_request.request_id)

        return choose

    async def _home(self, request: Request) -> Response:
        """Redirect to the start page after a visitor pressed the button that clears cookies which are too large."""
        return response(redirect(f"{self.address.url(page_request_of(request.scope).host)}/"))

    async def _landing(self, request: Request) -> Response:
        url = self.address.url(page_request_of(request.scope).host)
        return response(landing_page(url=url, dashboard=self.address.url(self.address.dashboard_host)))

    async def _keys(self, _request: Request) -> Response:
        """Return the public keys of identity assertions. Scripts of any site may read them."""
        headers = {"Cache-Control": f"public, max-age={JWKS_SECONDS}", "Access-Control-Allow-Origin": "*"}
        return JSONResponse(self.signer.jwks(), headers=headers, media_type="application/jwk-set+json")


def _app(routes: list[Route]) -> Starlette:
    """Return the app of one kind of host.

    Slashes are not redirected, as Starlette would build the Location from the request's Host.
    """
    app = Starlette(
        routes=routes,
        exception_handlers={404: _not_found, 405: _not_allowed, ClientDisconnect: _gone, Exception: _broken},
    )
    app.router.redirect_slashes = False
    return app


def _with_field(send: Send, field: Field) -> Send:
    """Wrap `send` so that the response gets one more header field."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), field]
        await send(message)

    return sending


async def _no_script(scope: Scope, receive: Receive, send: Send) -> None:
    await error("page_not_found", Request(scope))(scope, receive, send)


async def _not_found(request: Request, _error_: Exception) -> Response:
    return error("page_not_found", request)


async def _not_allowed(request: Request, _error_: Exception) -> Response:
    return error("method_not_allowed", request)


async def _gone(_request: Request, _error_: Exception) -> Response:
    """Return a response for a client that has disconnected and will not read it."""
    return Response(status_code=400)


async def _broken(request: Request, _error_: Exception) -> Response:
    """Return the error page for an unexpected exception, with the request id. Details are only in the log."""
    return error("internal_error", request)
