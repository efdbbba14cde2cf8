"""The pages of traffic: the last requests of visitors, updated live, and one request in detail."""

from collections.abc import Iterable
from typing import Literal
from urllib.parse import urlencode

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard import sse
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.request_input import UserRequest, page_route
from tunnelrelay.services.traffic import TrafficRow, Verdict

ROWS = 50
"""Requests on the page: as many as a user reads, as each update sends all of them."""
STATUSES: tuple[tuple[str, str], ...] = (
    ("", "Every status"),
    ("2", "2xx Success"),
    ("3", "3xx Redirect"),
    ("4", "4xx Client error"),
    ("5", "5xx Server error"),
)
VERDICTS: tuple[tuple[Verdict | Literal[""], str], ...] = (
    ("", "Everybody"),
    ("let in", "Let in"),
    ("kept out", "Kept out"),
    ("sent to sign in", "Sent to sign in"),
)


def routes(deps: Deps) -> list[Route]:
    return [
        page_route("/traffic", _list),
        page_route("/traffic/events", _events),
        page_route("/traffic/{id}", _one),
    ]


async def _list(request: UserRequest) -> Response:
    filters = _filters(request)
    return request.page(
        "traffic/list.html",
        rows=_rows(request),
        names=names_of_tunnels(request),
        hosts=sorted(request.deps.services.traffic.by_host(request.actor)),
        statuses=STATUSES,
        verdicts=VERDICTS,
        host=filters.get("host", ""),
        of_class=filters.get("status", ""),
        verdict=filters.get("verdict", ""),
        is_filtered=bool(filters),
        events=f"/traffic/events?{urlencode(filters)}" if filters else "/traffic/events",
    )


async def _events(request: UserRequest) -> Response:
    async def rows() -> str:
        is_filtered, names = bool(_filters(request)), names_of_tunnels(request)
        return request.render("traffic/rows.html", rows=_rows(request), names=names, is_filtered=is_filtered)

    return sse.stream(request, ("traffic",), {"rows": rows})


async def _one(request: UserRequest) -> Response:
    row = request.deps.services.traffic.get(request.actor, request.path_param("id"))
    names = names_of_tunnels(request)
    if request.by_htmx:
        return request.part("traffic/drawer.html", row=row, names=names)
    return request.page("traffic/one.html", row=row, names=names)


def names_of_tunnels(request: UserRequest) -> dict[str, str]:
    """Return the names of the user's tunnels, by their ids."""
    return {tunnel.id: tunnel.name for tunnel in request.deps.services.tunnels.tunnels(request.actor)}


def _filters(request: UserRequest) -> dict[str, str]:
    """Return the filters in the request's URL; invalid ones become ""."""
    known: dict[str, tuple[str, ...]] = {"status": _keys(STATUSES), "verdict": _keys(VERDICTS)}
    asked_for = {name: request.query(name) for name in ("host", "status", "verdict")}
    return {name: text for name, text in asked_for.items() if text and text in known.get(name, (text,))}


def _rows(request: UserRequest) -> list[TrafficRow]:
    filters = _filters(request)
    status = filters.get("status")
    return request.deps.services.traffic.recent(
        request.actor,
        host=filters["host"].lower() if "host" in filters else None,
        status=int(status) if status else None,
        verdict=next((verdict for verdict, _ in VERDICTS if verdict and verdict == filters.get("verdict")), None),
        limit=ROWS,
    )


def _keys(options: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(key for key, _ in options)
