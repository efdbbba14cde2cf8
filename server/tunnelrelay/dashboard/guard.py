"""Access checks before every page: users must be signed in, and changes must come from a page of the dashboard.

A path needs a sign-in unless `OPEN` names it. The hosts of tunnels are hostile and same-site with the dashboard (see
`csrf`): their pages must change nothing and read nothing, so a request that another origin has caused is served only
when it is a navigation, which opens a page.
"""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunnelrelay.dashboard import csrf, navigation
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.current_user import current_user
from tunnelrelay.dashboard.form import Form, read_form
from tunnelrelay.dashboard.request_input import KEY, UserRequest
from tunnelrelay.dashboard.sign_in_redirects import SIGN_IN, sign_in_address
from tunnelrelay.model import RequestKind
from tunnelrelay.services.problems import ManageError
from tunnelrelay.web.request_parsing import field_values, page_request_of

OPEN = (SIGN_IN, "/assets/", "/favicon.ico", "/robots.txt")
"""Paths that need no sign-in; one that ends in a slash stands for all paths below it."""

SAFETY: tuple[tuple[bytes, bytes], ...] = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        b"font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    # `no-referrer` would make browsers send `Origin: null` with the dashboard's own forms, and they would be refused.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""Security header fields of every response that does not set them itself."""
_OWN_SITES: tuple[list[bytes], ...] = ([], [b"same-origin"], [b"none"])


class Guard:
    """ASGI middleware that checks requests before the dashboard's pages get them.

    Args:
        paths: All paths of the dashboard, from which the navigation is made.
    """

    def __init__(self, app: ASGIApp, deps: Deps, paths: frozenset[str]) -> None:
        self._app = app
        self._deps = deps
        self._areas = {admin: navigation.visible_groups(paths, is_admin=admin) for admin in (False, True)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the dashboard's pages if it passes all checks; answer it with a refusal otherwise."""
        request = Request(scope, receive)
        try:
            refusal = self._refusal(request) or await self._let_in(request)
        except ManageError as error:
            refusal = PlainTextResponse(f"{error.message} {error.hint}", error.kind.value)
        await (refusal or self._app)(scope, receive, _hardened(send))

    def _refusal(self, request: Request) -> Response | None:
        """Check method and origin of a request: it must come from a page of the dashboard, or be a navigation by GET.

        Returns:
            The refusal of the request; None when it may go on.
        """
        scope = request.scope
        if request.method not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("method not allowed", 405, {"Allow": "GET, HEAD, POST"})
        site = field_values(scope, b"sec-fetch-site")
        if field_values(scope, b"service-worker"):
            return PlainTextResponse("no service workers here", 403)
        if request.method == "POST":
            is_ours = csrf.is_own_origin(self._deps.origin, field_values(scope, b"origin"), site)
            return None if is_ours else _forged()
        if site in _OWN_SITES or page_request_of(scope).request_kind in (RequestKind.NAVIGATION, RequestKind.PASSED_ON):
            return None
        return PlainTextResponse("this is for pages of the dashboard only", 403)

    async def _let_in(self, request: Request) -> Response | None:
        """Check sign-in and CSRF token, and put a `UserRequest` into the scope.

        Returns:
            The refusal of the request; None when it may go on, also for paths that need no sign-in.
        """
        path: str = request.scope["path"]
        if any(path == known or (known.endswith("/") and path.startswith(known)) for known in OPEN):
            return None
        signed_in = await current_user(self._deps, request.scope)
        if signed_in is None:
            return self._signed_out(request)
        token = csrf.token_of(self._deps.key, signed_in.session)
        form: Form | None = Form()
        if request.method == "POST":
            form = await read_form(request)
            shown = [value.decode("latin-1") for value in field_values(request.scope, csrf.HEADER)]
            if form is None or not csrf.is_token(token, shown or form.texts(csrf.FIELD)):
                return _forged()
        request.scope[KEY] = UserRequest(
            raw=request,
            deps=self._deps,
            actor=signed_in.actor,
            session=signed_in.session,
            token=token,
            areas=self._areas[signed_in.actor.is_admin],
            form=form or Form(),
        )
        return None

    def _signed_out(self, request: Request) -> Response:
        """Return the response to a request without a sign-in: a redirect to the sign-in page, or 401 for scripts."""
        if page_request_of(request.scope).request_kind in (RequestKind.NAVIGATION, RequestKind.PASSED_ON):
            where = sign_in_address(request.scope)
            return Response(status_code=303, headers={"Location": where, "Cache-Control": "no-store"})
        if page_request_of(request.scope).request_kind is RequestKind.FORM:
            return Response(status_code=303, headers={"Location": f"{SIGN_IN}?flash=over", "Cache-Control": "no-store"})
        headers = {"HX-Redirect": f"{SIGN_IN}?flash=over"} if field_values(request.scope, b"hx-request") else {}
        return PlainTextResponse("signed out", 401, headers)


def _forged() -> Response:
    return PlainTextResponse(
        "This was not sent by a page of the dashboard, or the page was too old. Go back, reload it, and try again.", 403
    )


def _hardened(send: Send) -> Send:
    async def hardened(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            names = {name.lower() for name, _ in headers}
            if b"cache-control" not in names:
                headers.append((b"cache-control", b"no-store"))
            message = {**message, "headers": [*headers, *(pair for pair in SAFETY if pair[0] not in names)]}
        await send(message)

    return hardened
