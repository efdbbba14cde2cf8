"""The page of visitors' login sessions: list them by endpoint and e-mail address, and end them."""

from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard import sse
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.listing import PAGE, address, listing
from tunnelrelay.dashboard.request_input import UserRequest, action_route, page_route

MAX_COUNTED = 1000
"""Sessions that the page counts; for more, it shows only that there are more."""
TOPICS = ("sessions",)


def routes(deps: Deps) -> list[Route]:
    return [
        page_route("/logins", _list),
        page_route("/logins/events", _events),
        action_route("/logins/revoke-all", _revoke_all),
        action_route("/logins/{id}/revoke", _revoke),
    ]


async def _list(request: UserRequest) -> Response:
    filters = _filters(request)
    providers = await request.deps.services.providers.page(request.actor, limit=1)
    return request.page(
        "logins/list.html",
        provider=providers[0].row.name if providers else "",
        **await _now(request),
        filters=filters,
        events="" if request.query("before") else address("/logins/events", **filters),
    )


async def _events(request: UserRequest) -> Response:
    async def rows() -> str:
        return request.render("logins/rows.html", **await _now(request), filters=_filters(request))

    async def count() -> str:
        return request.render("logins/count.html", **await _now(request))

    return sse.stream(request, TOPICS, {"rows": rows, "count": count})


async def _revoke(request: UserRequest) -> Response:
    await request.deps.services.logins.revoke(request.actor, request.path_param("id"))
    form = request.form
    return request.redirect(address("/logins", host=form.text("host"), email=form.text("email")), flash="login_ended")


async def _revoke_all(request: UserRequest) -> Response:
    host = request.form.text("host")
    await request.deps.services.logins.revoke_all(request.actor, host)
    return request.redirect(address("/logins", host=host), flash="logins_ended")


async def _now(request: UserRequest) -> dict[str, Any]:
    """Return the template variables of the page: the present rows, and how many sessions there are in all."""
    logins, filters = request.deps.services.logins, _filters(request)
    host, email = filters["host"] or None, filters["email"] or None
    everybody = await logins.page(request.actor, host, email, limit=MAX_COUNTED)

    async def fetch(before: str | None, limit: int) -> Any:
        if before is None:
            return everybody[:limit]
        return await logins.page(request.actor, host, email, before=before, limit=limit)

    page = await listing(request, fetch, **filters)
    return {"page": page, "count": len(everybody), "is_more": len(everybody) >= MAX_COUNTED > PAGE}


def _filters(request: UserRequest) -> dict[str, str]:
    return {"host": request.query("host").lower(), "email": request.query("email")}
