"""Visitors' logins: who is signed in at which endpoint at this moment, and ending that."""

from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard import sse
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.listing import PAGE, address, listing
from tunnelrelay.dashboard.request_input import Asked, does, shows

MAX_COUNTED = 1000
"""Logins that are counted one by one; of more it is said that they are more."""
TOPICS = ("sessions",)


def routes(deps: Deps) -> list[Route]:
    """See `views.AREAS`."""
    return [
        shows("/logins", _list),
        shows("/logins/events", _events),
        does("/logins/revoke-all", _revoke_all),
        does("/logins/{id}/revoke", _revoke),
    ]


async def _list(asked: Asked) -> Response:
    filters = _filters(asked)
    providers = await asked.deps.services.providers.page(asked.actor, limit=1)
    return asked.page(
        "logins/list.html",
        provider=providers[0].row.name if providers else "",
        **await _now(asked),
        filters=filters,
        events="" if asked.query("before") else address("/logins/events", **filters),
    )


async def _events(asked: Asked) -> Response:
    async def rows() -> str:
        return asked.written("logins/rows.html", **await _now(asked), filters=_filters(asked))

    async def count() -> str:
        return asked.written("logins/count.html", **await _now(asked))

    return sse.stream(asked, TOPICS, {"rows": rows, "count": count})


async def _revoke(asked: Asked) -> Response:
    await asked.deps.services.logins.revoke(asked.actor, asked.named("id"))
    form = asked.form
    return asked.go(address("/logins", host=form.text("host"), email=form.text("email")), said="login_ended")


async def _revoke_all(asked: Asked) -> Response:
    host = asked.form.text("host")
    await asked.deps.services.logins.revoke_all(asked.actor, host)
    return asked.go(address("/logins", host=host), said="logins_ended")


async def _now(asked: Asked) -> dict[str, Any]:
    """What the page shows at this moment: its rows, and how many there are in all."""
    logins, filters = asked.deps.services.logins, _filters(asked)
    host, email = filters["host"] or None, filters["email"] or None
    everybody = await logins.page(asked.actor, host, email, limit=MAX_COUNTED)

    async def fetch(before: str | None, limit: int) -> Any:
        if before is None:
            return everybody[:limit]
        return await logins.page(asked.actor, host, email, before=before, limit=limit)

    page = await listing(asked, fetch, **filters)
    return {"page": page, "count": len(everybody), "is_more": len(everybody) >= MAX_COUNTED > PAGE}


def _filters(asked: Asked) -> dict[str, str]:
    return {"host": asked.query("host").lower(), "email": asked.query("email")}
