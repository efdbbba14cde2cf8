"""The relay's own web app: the callback of logins, the reserved paths of endpoints, the page of the bare domain.

It runs behind the ingress, which has parsed, routed and limited each request already and says in `Inside` what it
found. Three small apps, chosen by where the request was sent: a path that one host serves does not exist on another.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tunnelrelay.address import PublicAddress
from tunnelrelay.model import Field, Reply
from tunnelrelay.oidc.answer import Endpoints
from tunnelrelay.oidc.assertion import AssertionSigner
from tunnelrelay.oidc.login import HANDOFF_PATH, Login
from tunnelrelay.oidc.logout import LOGOUT_PATH, SIGNED_OUT_PATH, Logout
from tunnelrelay.oidc.outcomes import redirect
from tunnelrelay.pages.catalogue import chosen, speaking
from tunnelrelay.pages.cookies import CLEAR_COOKIES_PATH
from tunnelrelay.pages.landing import landing_page
from tunnelrelay.pages.login import logged_out
from tunnelrelay.pages.page import error_reply
from tunnelrelay.web.reading import field_values, form_params, inside_of, query_params

log = logging.getLogger(__name__)

CALLBACK_PATH = "/oauth2/callback"
JWKS_PATH = "/.well-known/tunnel/jwks.json"
JWKS_SECONDS = 3600
"""How long apps may keep the keys. A new key is published long before it signs."""
_STRICT_TRANSPORT: Field = (b"Strict-Transport-Security", b"max-age=31536000")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebApp:
    """The ASGI app. Everything it needs is given by the composition root."""

    address: PublicAddress
    login: Login
    logout: Logout
    endpoints: Endpoints
    signer: AssertionSigner
    count_login: Callable[[str], None] = lambda outcome: None

    def build(self) -> ASGIApp:
        """The app to hand to the server behind the ingress."""
        keys = Route(JWKS_PATH, self._keys, methods=["GET"])
        by_kind: dict[str, ASGIApp] = {
            "idp": _app([Route(CALLBACK_PATH, self._callback, methods=["GET", "POST"]), keys]),
            "domain": _app([Route("/", self._landing, methods=["GET"]), keys]),
            "endpoint": _app(
                [
                    Route(HANDOFF_PATH, self._finish, methods=["GET"]),
                    Route(LOGOUT_PATH, self._logout, methods=["GET", "POST"]),
                    Route("/ngrok/logout", self._logout, methods=["GET"]),
                    Route("/ngrok/login", self._home, methods=["GET"]),
                    Route(CLEAR_COOKIES_PATH, self._home, methods=["GET", "POST"]),
                    Route(SIGNED_OUT_PATH, self._signed_out, methods=["GET"]),
                ]
            ),
        }

        async def choose(scope: Scope, receive: Receive, send: Send) -> None:
            inside = inside_of(scope)
            languages = b",".join(field_values(scope, b"accept-language"))
            try:
                with speaking(chosen(languages)):
                    await by_kind[inside.kind](scope, receive, send)
            except Exception:
                # Starlette has answered with `_broken` and raises once more: the one place where it ends.
                log.exception("own page failed: request=%s", inside.request_id)

        return choose

    async def _callback(self, request: Request) -> Response:
        """Where providers send visitors back to: by address, or by a form (`response_mode=form_post`)."""
        inside = inside_of(request.scope)
        if request.method == "HEAD":
            return _error("method_not_allowed", request)
        params = query_params(request.scope) if request.method == "GET" else await form_params(request)
        reply = await self.login.callback(params or [], inside.request_id)
        # No cookie, script or frame is any business of the callback host.
        return _response(reply, [_STRICT_TRANSPORT] if self.address.is_secure else [])

    async def _finish(self, request: Request) -> Response:
        """Where the callback sends visitors on to, at the endpoint's own host."""
        inside = inside_of(request.scope)
        connection = self.endpoints.connection_of(inside.host)
        if connection is None or field_values(request.scope, b"service-worker"):
            return _error("page_not_found", request)
        refusal = _refusal_of_fetch(request)
        if refusal:
            return _error(refusal, request)
        params, cookie_values = query_params(request.scope), field_values(request.scope, b"cookie")
        reply = await self.login.finish(inside.host, connection, params, cookie_values, inside.request_id)
        self.count_login(_outcome(reply))
        return _response(reply)

    async def _logout(self, request: Request) -> Response:
        """GET asks, POST does it."""
        inside = inside_of(request.scope)
        connection = self.endpoints.connection_of(inside.host)
        if connection is None:
            return _error("page_not_found", request)
        cookie_values = field_values(request.scope, b"cookie")
        if request.method != "POST":
            return _response(await self.logout.ask(inside.host, connection, cookie_values, inside.request_id))
        site = field_values(request.scope, b"sec-fetch-site")
        form = await form_params(request)
        if form is None or site not in ([], [b"same-origin"]):
            return _error("bad_request", request)
        self.count_login("logout")
        return _response(await self.logout.submit(inside.host, connection, form, cookie_values, inside.request_id))

    async def _home(self, request: Request) -> Response:
        """`/ngrok/login`: opening the app signs in. And the button for too large cookies, when they are no more."""
        return _response(redirect(f"{self.address.url(inside_of(request.scope).host)}/"))

    async def _signed_out(self, request: Request) -> Response:
        return _response(logged_out(host=inside_of(request.scope).host))

    async def _landing(self, request: Request) -> Response:
        return _response(landing_page(url=self.address.url(inside_of(request.scope).host)))

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


def _refusal_of_fetch(request: Request) -> str:
    """The error for what is no page being opened by a person; "" when it is one, or a browser too old to say."""
    purposes = [*field_values(request.scope, b"sec-purpose"), *field_values(request.scope, b"purpose")]
    if any(b"prefetch" in purpose.lower() for purpose in purposes):
        return "prefetch_refused"
    if request.method != "GET":
        return "method_not_allowed"
    mode, dest = field_values(request.scope, b"sec-fetch-mode"), field_values(request.scope, b"sec-fetch-dest")
    return "" if mode in ([], [b"navigate"]) and dest in ([], [b"document"]) else "login_required"


def _response(reply: Reply, fields: Iterable[Field] = ()) -> Response:
    response = Response(reply.body, reply.status)
    # As bytes and whole: Starlette's own header mapping would fold the Set-Cookie fields of a reply into one.
    response.raw_headers = [(name.lower(), value) for name, value in (*reply.fields, *fields)]
    response.raw_headers.append((b"content-length", b"%d" % len(reply.body)))
    return response


def _outcome(reply: Reply) -> str:
    """How a login ended, as the metrics call it."""
    if reply.status == 303:
        return "ok"
    return "denied" if reply.status == 403 else "failed"


def _error(code: str, request: Request) -> Response:
    inside = inside_of(request.scope)
    accepts = b",".join(field_values(request.scope, b"accept")).lower()
    wants_html = b"text/html" in accepts
    return _response(error_reply(code, request_id=inside.request_id, host=inside.host, wants_html=wants_html))


async def _not_found(request: Request, _error_: Exception) -> Response:
    return _error("page_not_found", request)


async def _not_allowed(request: Request, _error_: Exception) -> Response:
    return _error("method_not_allowed", request)


async def _gone(_request: Request, _error_: Exception) -> Response:
    """Nobody is left to read the answer."""
    return Response(status_code=400)


async def _broken(request: Request, _error_: Exception) -> Response:
    """The visitor gets a request id, the log the rest."""
    return _error("internal_error", request)
