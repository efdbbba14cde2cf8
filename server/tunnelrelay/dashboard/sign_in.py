"""The pages for signing in and out. `services.sign_ins` decides who a user is.

A one-time code or an API key is sent by a form, never in a path or query, as URLs end up in histories and logs. The
sign-in link that the relay prints has its code after `#`, which browsers do not send; the page's script moves the code
into the form. A page of a tunnel cannot send this form, as the guard checks `Origin`: otherwise it could sign people in
as its own user, to see what they create (login CSRF).
"""

from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from tunnelrelay.dashboard import cookie, render
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.flash import flash_text
from tunnelrelay.dashboard.form import Form, read_form
from tunnelrelay.dashboard.request_input import UserRequest, action_route
from tunnelrelay.dashboard.sign_in_redirects import SIGN_IN, own_path
from tunnelrelay.oidc.login.cookies import CookieJar
from tunnelrelay.services.problems import ManageError
from tunnelrelay.web.request_parsing import field_values, page_request_of, query_params

SIGN_OUT = "/sign-out"
LOGIN = "/_tunnel/login"
"""Path on the dashboard's host at which a login with the operator's OpenID provider begins."""
LOGOUT = "/_tunnel/logout"
"""Path on the dashboard's host at which a login with the operator's OpenID provider is ended."""


@dataclass(frozen=True, slots=True)
class SignInPages:
    """The pages that sign users in to the dashboard and out of it."""

    deps: Deps

    def routes(self) -> list[Route]:
        """Return the routes of the pages that sign users in and out."""
        return [
            Route(SIGN_IN, self._form, methods=["GET"]),
            Route(SIGN_IN, self._sign_in, methods=["POST"]),
            action_route(SIGN_OUT, self._sign_out),
        ]

    async def _form(self, request: Request) -> Response:
        params = dict(query_params(request.scope))
        return self._page(params.get("next", "/"), flash=flash_text(params.get("flash", "")))

    async def _sign_in(self, request: Request) -> Response:
        page_request = page_request_of(request.scope)
        form = await read_form(request) or Form()
        agent = b" ".join(field_values(request.scope, b"user-agent")).decode("latin-1")
        try:
            signed_in = await self.deps.services.sign_ins.redeem(
                form.text("secret"), peer=page_request.peer.host, agent=agent, request_id=page_request.request_id
            )
        except ManageError as error:
            return self._page(form.text("next"), problem=error, status=error.kind.value)
        answer = Response(status_code=303, headers={"Location": own_path(form.text("next"))})
        return self._with_cookie(answer, cookie.set_cookie(signed_in.cookie, is_secure=self.deps.address.is_secure))

    async def _sign_out(self, request: UserRequest) -> Response:
        """Sign the user out. A user with an OpenID login goes on to its logout page, which asks for confirmation."""
        sign_ins = self.deps.services.sign_ins
        await sign_ins.sign_out(request.session.decode("ascii"))
        login_cookie = CookieJar(self.deps.address.is_secure).session_in(field_values(request.raw.scope, b"cookie"))
        # A user can have both kinds of sign-in: a code's or key's, which has ended now, and an OpenID login.
        where = LOGOUT if sign_ins.oidc is not None and login_cookie is not None else f"{SIGN_IN}?flash=signed_out"
        answer = Response(status_code=303, headers={"Location": where})
        # Clear this host's data in the browser too, but not "cookies", which would clear those of sibling hosts.
        answer.headers["Clear-Site-Data"] = '"cache", "storage"'
        return self._with_cookie(answer, cookie.clear_cookie(is_secure=self.deps.address.is_secure))

    def _page(
        self, target: str, *, flash: str = "", problem: ManageError | None = None, status: int = 200
    ) -> HTMLResponse:
        where = own_path(target)
        deps = self.deps
        # The parameters of a third-party initiated login (OpenID Connect Core, section 4), which has a return URL.
        login = {"iss": deps.issuer, "target_link_uri": deps.origin + where}
        html = render.render_template(
            "sign_in.html",
            next=where,
            flash=flash,
            problem=problem,
            provider=deps.provider,
            login=f"{LOGIN}?{urlencode(login)}",
            domain=deps.address.domain,
        )
        return HTMLResponse(html, status)

    @staticmethod
    def _with_cookie(answer: Response, set_cookie: bytes) -> Response:
        answer.raw_headers.append((b"set-cookie", set_cookie))
        return answer
