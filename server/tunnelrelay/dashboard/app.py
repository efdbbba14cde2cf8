"""Build the dashboard's ASGI app: its pages behind the access checks of `guard`, and its error pages."""

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp

from tunnelrelay.dashboard import assets, render
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.guard import Guard
from tunnelrelay.dashboard.request_input import KEY, UserRequest
from tunnelrelay.dashboard.sign_in import SignInPages
from tunnelrelay.dashboard.views import AREAS
from tunnelrelay.services.problems import Kind, ManageError
from tunnelrelay.web.request_parsing import page_request_of

_TITLES = {
    400: "That does not work",
    403: "You may not do this",
    404: "There is nothing here",
    409: "Conflict: already in use, or changed meanwhile",
    429: "Too often",
    503: "Not at the moment",
}


def dashboard(deps: Deps) -> ASGIApp:
    """Return the ASGI app that serves the dashboard's host."""
    pages = [route for routes in AREAS for route in routes(deps)]
    app = Starlette(
        routes=[assets.route(), *SignInPages(deps).routes(), *pages],
        exception_handlers={
            404: _not_found,
            405: _not_allowed,
            ManageError: _refused,
            ClientDisconnect: _gone,
            Exception: _broken,
        },
    )
    # Starlette's redirects would build a Location from the request's Host, which a client can choose.
    app.router.redirect_slashes = False
    return Guard(app, deps, frozenset(page.path for page in pages))


async def _refused(request: Request, error: Exception) -> Response:
    """Return the error page for a `ManageError` that no page has handled."""
    assert isinstance(error, ManageError)
    answer = _problem(request, error.kind.value, _TITLES[error.kind.value], error.message, error.hint)
    if error.kind in (Kind.AWAY, Kind.BUSY):
        answer.headers["Retry-After"] = str(error.retry_after)
    return answer


async def _not_found(request: Request, _error: Exception) -> Response:
    return _problem(request, 404, _TITLES[404], "This page does not exist, or what it showed is gone.")


async def _not_allowed(_request: Request, _error: Exception) -> Response:
    return PlainTextResponse("method not allowed", 405)


async def _gone(_request: Request, _error: Exception) -> Response:
    """Return an empty response when the client has disconnected while its body was read."""
    return Response(status_code=400)


async def _broken(request: Request, _error: Exception) -> Response:
    """Return the error page for an unexpected exception. It names only the request's id; the log has the rest."""
    name = page_request_of(request.scope).request_id
    return _problem(request, 500, "Something broke", f"The relay's log has more about it, under {name}.")


def _problem(request: Request, status: int, title: str, message: str, hint: str = "") -> Response:
    user_request = request.scope.get(KEY)
    if not isinstance(user_request, UserRequest):
        return PlainTextResponse(message, status)
    if user_request.by_htmx:
        return HTMLResponse(render.render_template("problem_part.html", message=message, hint=hint), status)
    return user_request.page("problem.html", status=status, title=title, message=message, hint=hint)
