"""Who one is here, and in which browsers one is signed in: each can be signed out from any other."""

import hashlib

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.request_input import Asked, does, shows

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
    """See `views.AREAS`."""
    return [
        shows("/account", _show),
        does("/account/sign-ins/{id}/revoke", _revoke),
        does("/account/sign-out-everywhere", _leave_everywhere),
    ]


async def _show(asked: Asked) -> Response:
    services = asked.deps.services
    sign_ins = await services.sign_ins.page(asked.actor)
    own_key = hashlib.sha256(asked.session).digest()
    return asked.page(
        "account.html",
        user=await services.users.me(asked.actor),
        sign_ins=[(row, browser_of(row.agent), row.key == own_key) for row in sign_ins],
    )


async def _revoke(asked: Asked) -> Response:
    await asked.deps.services.sign_ins.revoke(asked.actor, asked.named("id"))
    return asked.go("/account", said="ended")


async def _leave_everywhere(asked: Asked) -> Response:
    """Ends every sign-in of the actor's by a code or a key, this one last."""
    sign_ins = asked.deps.services.sign_ins
    own_key = hashlib.sha256(asked.session).digest()
    for row in sorted(await sign_ins.page(asked.actor), key=lambda row: row.key == own_key):
        await sign_ins.revoke(asked.actor, row.id)
    return asked.go("/sign-in?said=signed_out")


def browser_of(agent: str) -> str:
    """A browser's own description, as people say it; itself when it is none that is known."""
    browser = next((name for mark, name in _BROWSERS if mark in agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in agent), "")
    return f"{browser} on {system}" if browser and system else browser or agent[:80] or "unknown"
