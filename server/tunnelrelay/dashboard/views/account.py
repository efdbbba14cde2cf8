"""The account page: the signed-in user, and the user's browsers that are signed in, each with a sign-out button."""

import hashlib

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.request_input import UserRequest, action_route, page_route

_BROWSERS = (("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)
"""Texts in a `User-Agent` with the names that people know, for browsers and systems. The first match counts, as a
`User-Agent` also contains the texts of browsers further down in the list."""


def routes(deps: Deps) -> list[Route]:
    return [
        page_route("/account", _show),
        action_route("/account/sign-ins/{id}/revoke", _revoke),
        action_route("/account/sign-out-everywhere", _leave_everywhere),
    ]


async def _show(request: UserRequest) -> Response:
    services = request.deps.services
    sign_ins = await services.sign_ins.page(request.actor)
    own_key = hashlib.sha256(request.session).digest()
    return request.page(
        "account.html",
        user=await services.users.me(request.actor),
        sign_ins=[(row, browser_of(row.agent), row.key == own_key) for row in sign_ins],
    )


async def _revoke(request: UserRequest) -> Response:
    await request.deps.services.sign_ins.revoke(request.actor, request.path_param("id"))
    return request.redirect("/account", flash="ended")


async def _leave_everywhere(request: UserRequest) -> Response:
    """Sign the user out of all browsers, the present one last. OpenID logins are not ended."""
    sign_ins = request.deps.services.sign_ins
    own_key = hashlib.sha256(request.session).digest()
    for row in sorted(await sign_ins.page(request.actor), key=lambda row: row.key == own_key):
        await sign_ins.revoke(request.actor, row.id)
    return request.redirect("/sign-in?flash=signed_out")


def browser_of(agent: str) -> str:
    """Return a `User-Agent` as people would say it, as in `Firefox on Linux`; an unknown one is returned as it is."""
    browser = next((name for mark, name in _BROWSERS if mark in agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in agent), "")
    return f"{browser} on {system}" if browser and system else browser or agent[:80] or "unknown"
