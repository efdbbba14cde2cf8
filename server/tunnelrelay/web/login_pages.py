"""Handles the paths of a login: start, callback and end. `oidc.login` implements the steps.

Only a request with which a person opens a page is served: fetches, frames and prefetches are refused and do not use up
a login.
"""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.address import HOST_CALLBACK_PATH, PublicAddress, callback_path
from tunnelrelay.model import Identity
from tunnelrelay.oidc.login.callback import ArrivedAt, Endpoints
from tunnelrelay.oidc.login.login import HANDOFF_PATH, Login
from tunnelrelay.oidc.login.outcomes import LoginEnd, Outcome, redirect
from tunnelrelay.oidc.login.third_party_login import LOGIN_PATH, host_named, passed_on, read_initiation
from tunnelrelay.oidc.login.visitor_request import VisitorRequest
from tunnelrelay.pages.login import USE_ANOTHER_PATH
from tunnelrelay.web.request_parsing import Params, field_values, form_params, page_request_of, query_params
from tunnelrelay.web.responses import error, refusal_of_fetch, response


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginPages:
    """Handlers for the paths of a login.

    Attributes:
        count_login: Called with the outcome of each step.
        note_sign_in: Called with the request id, the person who signed in, and the kind of rule that refused the person
            ("" for none).
    """

    address: PublicAddress
    login: Login
    endpoints: Endpoints
    count_login: Callable[[Outcome], None]
    note_sign_in: Callable[[str, Identity, str], None]

    def at_endpoint(self) -> list[Route]:
        """Return the routes that every endpoint with a login has."""
        return [
            Route(HANDOFF_PATH, self._finish, methods=["GET"]),
            Route(HOST_CALLBACK_PATH, self._finish_here, methods=["GET"]),
            Route(LOGIN_PATH, self._start, methods=["GET", "POST"]),
            Route("/ngrok/login", self._start, methods=["GET"]),
            Route(USE_ANOTHER_PATH, self._switch, methods=["POST"]),
        ]

    def at_callback_host(self) -> list[Route]:
        """Return the routes of the callback host."""
        return [
            Route(callback_path("callback"), self._callback, methods=["GET", "POST"]),
            Route(callback_path("callback") + "/{connection}", self._callback, methods=["GET", "POST"]),
            Route(LOGIN_PATH, self._pass_on, methods=["GET", "POST"]),
        ]

    async def _callback(self, request: Request) -> Response:
        """Handle a provider's response at the callback host, in the query or a form (`response_mode=form_post`)."""
        page_request = page_request_of(request.scope)
        if request.method == "HEAD":
            return error("method_not_allowed", request)
        own = request.path_params.get("connection")
        arrived = ArrivedAt("shared") if own is None else ArrivedAt("connection", own)
        reply = await self.login.callback(
            await _params(request) or [], arrived, page_request.request_id, page_request.peer
        )
        # No cookie, script or frame is any business of the callback host.
        return response(reply)

    async def _finish(self, request: Request) -> Response:
        """Finish the login at the endpoint's own host, to which the callback host redirects visitors."""
        visitor_request = self._visitor_request(request)
        if isinstance(visitor_request, Response):
            return visitor_request
        return self._counted(visitor_request, await self.login.finish(visitor_request, query_params(request.scope)))

    async def _finish_here(self, request: Request) -> Response:
        """Finish the login at the endpoint's own callback, to which the provider redirects visitors."""
        visitor_request = self._visitor_request(request)
        if isinstance(visitor_request, Response):
            return visitor_request
        return self._counted(
            visitor_request, await self.login.finish_here(visitor_request, query_params(request.scope))
        )

    async def _start(self, request: Request) -> Response:
        """Start a login for the provider (third-party initiated), or for a visitor who opens the address."""
        visitor_request = self._visitor_request(request, ("GET", "POST"))
        if isinstance(visitor_request, Response):
            return visitor_request
        if not page_request_of(request.scope).may_start_login:
            return error("login_required", request)
        params, base = await _params(request), self.address.url(visitor_request.host)
        initiation = None if params is None else read_initiation(params, visitor_request.connection, base)
        if params is None or initiation is None:
            return error("form_refused", request)
        if request.method == "POST":
            # A POST from another site has no cookies (SameSite=Lax); redirect to a GET, which has them.
            return response(redirect(passed_on(params, base)))
        return self._counted(visitor_request, await self.login.start_third_party(visitor_request, initiation))

    async def _pass_on(self, request: Request) -> Response:
        """Redirect a login that starts at the callback host to the endpoint in `target_link_uri`."""
        refusal = refusal_of_fetch(request, ("GET", "POST"))
        if refusal:
            return error(refusal, request)
        params = await _params(request)
        host = None if params is None else host_named(params, self.address)
        connection = None if host is None else self.endpoints.connection_of(host)
        if params is None or host is None or connection is None:
            return error("form_refused", request)
        base = self.address.url(host)
        if read_initiation(params, connection, base) is None:
            return error("form_refused", request)
        return response(redirect(passed_on(params, base)))

    async def _switch(self, request: Request) -> Response:
        """Handle the button "use another account" on the page that refused a visitor."""
        visitor_request = self._visitor_request(request, ("POST",))
        if isinstance(visitor_request, Response):
            return visitor_request
        form = await form_params(request)
        if form is None or field_values(request.scope, b"sec-fetch-site") not in ([], [b"same-origin"]):
            return error("form_refused", request)
        return self._counted(visitor_request, await self.login.switch(visitor_request, form))

    def _visitor_request(self, request: Request, methods: tuple[str, ...] = ("GET",)) -> VisitorRequest | Response:
        """Return the visitor's request, or an error if it does not open a page at an endpoint with a login."""
        page_request = page_request_of(request.scope)
        connection = self.endpoints.connection_of(page_request.host)
        if connection is None:
            return error("page_not_found", request)
        refusal = refusal_of_fetch(request, methods)
        if refusal:
            return error(refusal, request)
        return VisitorRequest(
            host=page_request.host,
            connection=connection,
            cookie_values=field_values(request.scope, b"cookie"),
            request_id=page_request.request_id,
            peer=page_request.peer,
        )

    def _counted(self, visitor_request: VisitorRequest, ended: LoginEnd) -> Response:
        self.count_login(ended.outcome)
        if ended.who is not None:
            self.note_sign_in(visitor_request.request_id, ended.who, ended.refusal)
        return response(ended.reply)


async def _params(request: Request) -> Params | None:
    """Return the parameters of the query or the form; None when the body is not a form."""
    return query_params(request.scope) if request.method == "GET" else await form_params(request)
