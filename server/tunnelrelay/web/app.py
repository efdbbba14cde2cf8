"""The relay's own web app: the callback of logins, the reserved paths of endpoints, the page of the bare domain.

It runs behind the ingress, which has parsed, routed and limited each request and describes it in `PageRequest`. There
is one small app for each kind of host (dashboard and API are made elsewhere): a path of one host does not exist on
another.
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
"""How long apps may cache the keys. A new key is published long before it signs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebApp:
    """The ASGI app. `app.wiring` makes it."""

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
            # People sign in to the dashboard, and out of it, as at every endpoint.
            is_login = page_request.kind == "dashboard" and scope["path"].startswith(RESERVED)
            kind = "endpoint" if is_login else page_request.kind
            app = by_kind[kind]
            if kind == "endpoint" and field_values(scope, b"service-worker"):
                # A worker planted below our paths would answer them in our place.
                app = _no_script
            try:
                await app(scope, receive, send)
            except Exception:
                # Starlette has answered with `_broken` and raises again; log it here.
                log.exception("own page failed", request_id=page_request.request_id)

        return choose

    async def _home(self, request: Request) -> Response:
        """Answer the button for too large cookies when the cookies are small again."""
        return response(redirect(f"{self.address.url(page_request_of(request.scope).host)}/"))

    async def _landing(self, request: Request) -> Response:
        url = self.address.url(page_request_of(request.scope).host)
        return response(landing_page(url=url, dashboard=self.address.url(self.address.dashboard_host)))

    async def _keys(self, _request: Request) -> Response:
        """The public keys of identity assertions; any site may read them."""
        headers = {"Cache-Control": f"public, max-age={JWKS_SECONDS}", "Access-Control-Allow-Origin": "*"}
        return JSONResponse(self.signer.jwks(), headers=headers, media_type="application/jwk-set+json")


def _app(routes: list[Route]) -> Starlette:
    """One host's app. Slashes are not redirected: a Location built from the request's Host must not exist."""
    app = Starlette(
        routes=routes,
        exception_handlers={404: _not_found, 405: _not_allowed, ClientDisconnect: _gone, Exception: _broken},
    )
    app.router.redirect_slashes = False
    return app


def _with_field(send: Send, field: Field) -> Send:
    """As `send`, with one more header field in the response."""

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
    """Answer a client that is gone; it reads nothing."""
    return Response(status_code=400)


async def _broken(request: Request, _error_: Exception) -> Response:
    """Answer an unexpected error with the request id; the log has the rest."""
    return error("internal_error", request)
