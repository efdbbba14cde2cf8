"""`UserRequest`, the argument of every page: the signed-in user, the form, and methods that make responses."""

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
"""Key of the ASGI scope under which the guard stores the `UserRequest`. Handlers fail on a request without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRequest:
    """A request of a signed-in user that passed the guard. Templates have it as `request`.

    Attributes:
        raw: Starlette's request.
        actor: The signed-in user.
        session: The value of the session cookie.
        token: The CSRF token for forms of this session.
        areas: The navigation menu that the user sees.
        form: The form of a POST; empty for a GET.
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
        """The path of the request's URL."""
        path: str = self.raw.scope["path"]
        return path

    @property
    def by_htmx(self) -> bool:
        """Whether htmx sent the request and expects only a part of the page."""
        return field_values(self.raw.scope, b"hx-request") == [b"true"]

    @property
    def relay_url(self) -> str:
        """The URL that agents connect to, the value of `--relay` in the commands that pages show."""
        address = self.deps.address
        return address.url(address.domain)

    def path_param(self, name: str) -> str:
        """Return a parameter of the path by its name in the route, as `id` in `/edges/{id}`."""
        value: str = self.raw.path_params[name]
        return value

    def query(self, name: str) -> str:
        """Return a parameter of the query by its name; "" when it occurs never or more than once."""
        values = [value for found, value in query_params(self.raw.scope) if found == name]
        return values[0].strip() if len(values) == 1 else ""

    def page(self, template: str, *, status: int = 200, **context: Any) -> Response:
        """Return a response with a whole page, rendered from a template."""
        shown = {"flash": flash_text(self.query("flash")), **context}
        return HTMLResponse(self.render(template, **shown), status)

    def part(self, template: str, *, status: int = 200, **context: Any) -> Response:
        """Return a response with a part of a page, rendered from a template, for htmx."""
        return HTMLResponse(self.render(template, **context), status)

    def render(self, template: str, **context: Any) -> str:
        """Render a template to HTML; every template may use `request` and `now` (Unix time)."""
        return render.render_template(template, request=self, now=self.deps.clock(), **context)

    def redirect(self, path: str, *, flash: str = "") -> Response:
        """Return a redirect to a page after an action.

        Args:
            path: Path of the page on the dashboard's host.
            flash: Key of a message in `flash.TEXTS` that the page shows once.
        """
        where = f"{path}{'&' if '?' in path else '?'}flash={flash}" if flash else path
        if self.by_htmx:
            return Response(status_code=204, headers={"HX-Redirect": where})
        return Response(status_code=303, headers={"Location": where})


Handler = Callable[[UserRequest], Awaitable[Response]]


def page_route(path: str, handler: Handler) -> Route:
    """Return a route for GET. Its handler must change nothing."""
    return Route(path, _behind_the_guard(handler), methods=["GET"])


def action_route(path: str, handler: Handler) -> Route:
    """Return a route for POST, for a handler that changes something."""
    return Route(path, _behind_the_guard(handler), methods=["POST"])


def _behind_the_guard(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        user_request = request.scope[KEY]
        assert isinstance(user_request, UserRequest)
        # The guard has not seen the route's parameters yet.
        return await handler(replace(user_request, raw=request))

    return answer
