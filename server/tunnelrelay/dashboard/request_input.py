"""The request as a page gets it: the user, what they sent, and the ways to respond."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from tunnelrelay.dashboard import render
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.flash import flash_text
from tunnelrelay.dashboard.form import Form
from tunnelrelay.dashboard.navigation import NavigationGroup
from tunnelrelay.services.actor import Actor
from tunnelrelay.web.request_parsing import field_values, query_params

KEY = "dashboard"
"""Key of the ASGI scope under which the guard puts the `UserRequest`. Handlers fail on a request without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRequest:
    """A request of a signed-in user that passed the guard. Templates have it as `request`.

    Attributes:
        session: The cookie's value.
        token: The CSRF token of this session's forms.
        form: What a POST has sent; empty for a GET.
        areas: What the navigation shows.
        raw: Starlette's request.
    """

    raw: Request
    deps: Deps
    actor: Actor
    session: bytes = field(repr=False)
    token: str = field(repr=False)
    areas: tuple[NavigationGroup, ...]
    form: Form = field(default_factory=Form)

    @property
    def path(self) -> str:
        """The request's path."""
        path: str = self.raw.scope["path"]
        return path

    @property
    def by_htmx(self) -> bool:
        """Whether htmx sent the request; it wants a piece of the page only."""
        return field_values(self.raw.scope, b"hx-request") == [b"true"]

    @property
    def relay_url(self) -> str:
        """The address that agents connect to: the value of `--relay` in every command that a page shows."""
        address = self.deps.address
        return address.url(address.domain)

    def path_param(self, name: str) -> str:
        """A part of the path, by its name in the route."""
        value: str = self.raw.path_params[name]
        return value

    def query(self, name: str) -> str:
        """Return a parameter of the query; "" without one, or with two."""
        values = [value for found, value in query_params(self.raw.scope) if found == name]
        return values[0].strip() if len(values) == 1 else ""

    def page(self, template: str, *, status: int = 200, **context: Any) -> Response:
        """Return a whole page."""
        shown = {"flash": flash_text(self.query("flash")), **context}
        return HTMLResponse(self.render(template, **shown), status)

    def part(self, template: str, *, status: int = 200, **context: Any) -> Response:
        """Return a piece of a page, for htmx."""
        return HTMLResponse(self.render(template, **context), status)

    def render(self, template: str, **context: Any) -> str:
        """Render a template with `request` and `now` (Unix time), which every template may use."""
        return render.render_template(template, request=self, now=self.deps.clock(), **context)

    def redirect(self, path: str, *, flash: str = "") -> Response:
        """Redirect to a page after an action.

        Args:
            path: On this host.
            flash: A key of `TEXTS` in flash.py, shown there once.
        """
        where = f"{path}{'&' if '?' in path else '?'}flash={flash}" if flash else path
        if self.by_htmx:
            return Response(status_code=204, headers={"HX-Redirect": where})
        return Response(status_code=303, headers={"Location": where})


Handler = Callable[[UserRequest], Awaitable[Response]]


def page_route(path: str, handler: Handler) -> Route:
    """Route a page by GET. Its handler changes nothing."""
    return Route(path, _behind_the_guard(handler), methods=["GET"])


def action_route(path: str, handler: Handler) -> Route:
    """Route a change by POST."""
    return Route(path, _behind_the_guard(handler), methods=["POST"])


def _behind_the_guard(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        user_request = request.scope[KEY]
        assert isinstance(user_request, UserRequest)
        # The guard has not seen the route's parameters yet.
        return await handler(replace(user_request, raw=request))

    return answer
