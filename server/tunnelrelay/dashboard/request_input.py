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
"""Where in the scope the guard puts an `Asked`. Without the guard there is none, and a handler fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request of a user who is signed in, allowed and checked.

    Attributes:
        session: The cookie's value.
        token: The CSRF token of this session's forms.
        form: What a POST has sent; empty for a GET.
        areas: What the navigation shows.
    """

    request: Request
    deps: Deps
    actor: Actor
    session: bytes = field(repr=False)
    token: str = field(repr=False)
    areas: tuple[NavigationGroup, ...]
    form: Form = field(default_factory=Form)

    @property
    def path(self) -> str:
        """The request's path."""
        path: str = self.request.scope["path"]
        return path

    @property
    def by_htmx(self) -> bool:
        """Whether htmx asks, for a piece of the page only."""
        return field_values(self.request.scope, b"hx-request") == [b"true"]

    @property
    def relay_url(self) -> str:
        """The address that agents connect to: the value of `--relay` in every command that a page shows."""
        address = self.deps.address
        return address.url(address.domain)

    def named(self, name: str) -> str:
        """A part of the path, by its name in the route."""
        value: str = self.request.path_params[name]
        return value

    def query(self, name: str) -> str:
        """Return a parameter of the query; "" without one, or with two."""
        values = [value for found, value in query_params(self.request.scope) if found == name]
        return values[0].strip() if len(values) == 1 else ""

    def page(self, template: str, *, status: int = 200, **context: Any) -> Response:
        """Return a whole page."""
        shown = {"said": flash_text(self.query("said")), **context}
        return HTMLResponse(self.written(template, **shown), status)

    def part(self, template: str, *, status: int = 200, **context: Any) -> Response:
        """Return a piece of a page, for htmx."""
        return HTMLResponse(self.written(template, **context), status)

    def written(self, template: str, **context: Any) -> str:
        """Render a template with `asked` and `now` (Unix time), which every template may use."""
        return render.written(template, asked=self, now=self.deps.clock(), **context)

    def go(self, path: str, *, said: str = "") -> Response:
        """Redirect to a page after an action.

        Args:
            path: On this host.
            said: A key of `TEXTS` in flash.py, shown there once.
        """
        where = f"{path}{'&' if '?' in path else '?'}said={said}" if said else path
        if self.by_htmx:
            return Response(status_code=204, headers={"HX-Redirect": where})
        return Response(status_code=303, headers={"Location": where})


Handler = Callable[[Asked], Awaitable[Response]]


def shows(path: str, handler: Handler) -> Route:
    """Route a page by GET. Its handler changes nothing."""
    return Route(path, _behind_the_guard(handler), methods=["GET"])


def does(path: str, handler: Handler) -> Route:
    """Route a change by POST."""
    return Route(path, _behind_the_guard(handler), methods=["POST"])


def _behind_the_guard(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        asked = request.scope[KEY]
        assert isinstance(asked, Asked)
        # The guard has not seen the route's parameters yet.
        return await handler(replace(asked, request=request))

    return answer
