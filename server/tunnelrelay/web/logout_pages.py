"""Handles the paths of signing out: at an endpoint, at the callback host, and for providers' logout messages.

`oidc.logout` implements the steps.
"""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.address import callback_path
from tunnelrelay.oidc.login.callback import Endpoints
from tunnelrelay.oidc.login.visitor_request import VisitorRequest
from tunnelrelay.oidc.logout.logout import LOGOUT_PATH, SIGNED_OUT_PATH, Logout
from tunnelrelay.oidc.logout.provider_logout import FRONT_CHANNEL_PATH, ProviderLogout
from tunnelrelay.web.request_parsing import field_values, form_params, page_request_of, query_params
from tunnelrelay.web.responses import error, response


@dataclass(frozen=True, slots=True, kw_only=True)
class LogoutPages:
    """Handlers for the paths of signing out.

    Attributes:
        count_login: Called for each sign-out by a visitor's click.
    """

    logout: Logout
    provider_logout: ProviderLogout
    endpoints: Endpoints
    count_login: Callable[[str], None]

    def at_endpoint(self) -> list[Route]:
        """Return the routes that every endpoint with a login has."""
        return [
            Route(LOGOUT_PATH, self._logout, methods=["GET", "POST"]),
            Route("/ngrok/logout", self._logout, methods=["GET"]),
            Route(SIGNED_OUT_PATH, self._signed_out, methods=["GET"]),
            Route(FRONT_CHANNEL_PATH, self._front_channel, methods=["GET"]),
        ]

    def at_callback_host(self) -> list[Route]:
        """Return the routes of the callback host: one for all connections, or one for each."""
        return [
            Route(path + tail, handler, methods=[method])
            for path, handler, method in (
                (callback_path("logged-out"), self._returned, "GET"),
                (callback_path("backchannel-logout"), self._back_channel, "POST"),
            )
            for tail in ("", "/{connection}")
        ]

    async def _logout(self, request: Request) -> Response:
        """Show the confirmation page on GET, sign out on POST."""
        page_request = page_request_of(request.scope)
        connection = self.endpoints.connection_of(page_request.host)
        if connection is None:
            return error("page_not_found", request)
        visitor_request = VisitorRequest(
            host=page_request.host,
            connection=connection,
            cookie_values=field_values(request.scope, b"cookie"),
            request_id=page_request.request_id,
            peer=page_request.peer,
        )
        if request.method != "POST":
            return response(await self.logout.confirmation_page(visitor_request))
        form = await form_params(request)
        if form is None or field_values(request.scope, b"sec-fetch-site") not in ([], [b"same-origin"]):
            return error("form_refused", request)
        self.count_login("logout")
        return response(await self.logout.submit(visitor_request, form))

    async def _signed_out(self, request: Request) -> Response:
        host = page_request_of(request.scope).host
        return response(
            await self.logout.signed_out_page(host, self.endpoints.connection_of(host), query_params(request.scope))
        )

    async def _returned(self, request: Request) -> Response:
        """Receive a visitor who comes back from the provider's logout."""
        own = request.path_params.get("connection", "")
        return response(
            self.logout.returned(query_params(request.scope), own, page_request_of(request.scope).request_id)
        )

    async def _back_channel(self, request: Request) -> Response:
        """Handle a logout token that a provider's server posted (back-channel logout)."""
        page_request = page_request_of(request.scope)
        reply = await self.provider_logout.receive(
            request.path_params.get("connection", ""),
            await form_params(request) or [],
            peer=page_request.peer.host,
            request_id=page_request.request_id,
        )
        return response(reply)

    async def _front_channel(self, request: Request) -> Response:
        """Handle the hidden frame of a provider's logout page (front-channel logout)."""
        host = page_request_of(request.scope).host
        connection = self.endpoints.connection_of(host)
        if connection is None:
            return error("page_not_found", request)
        return response(await self.provider_logout.leave_frame(host, connection, query_params(request.scope)))
