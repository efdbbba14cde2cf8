"""Who one is here, and in which browsers one is signed in: each can be signed out from any other."""

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
"""What a User-Agent has in it and what people call that; the first that fits, as each claims to be those behind it."""


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
    """Ends every sign-in of the actor's by a code or a key, this one last."""
    sign_ins = request.deps.services.sign_ins
    own_key = hashlib.sha256(request.session).digest()
    for row in sorted(await sign_ins.page(request.actor), key=lambda row: row.key == own_key):
        await sign_ins.revoke(request.actor, row.id)
    return request.redirect("/sign-in?flash=signed_out")


def browser_of(agent: str) -> str:
    """A browser's own description, as people say it; itself when it is none that is known."""
    browser = next((name for mark, name in _BROWSERS if mark in agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in agent), "")
    return f"{browser} on {system}" if browser and system else browser or agent[:80] or "unknown"
