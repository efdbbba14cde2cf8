"""Traffic: the last requests as they come, and one of them in detail."""

from collections.abc import Iterable
from typing import Literal
from urllib.parse import urlencode

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard import sse
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.request_input import Asked, shows
from tunnelrelay.services.traffic import TrafficRow, Verdict

ROWS = 50
"""Requests on the page: as many as a user looks through, and each change sends them all."""
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
    """See `views.AREAS`."""
    return [
        shows("/traffic", _list),
        shows("/traffic/events", _events),
        shows("/traffic/{id}", _one),
    ]


async def _list(asked: Asked) -> Response:
    filters = _filters(asked)
    return asked.page(
        "traffic/list.html",
        rows=_rows(asked),
        names=names_of_tunnels(asked),
        hosts=sorted(asked.deps.services.traffic.by_host(asked.actor)),
        statuses=STATUSES,
        verdicts=VERDICTS,
        host=filters.get("host", ""),
        of_class=filters.get("status", ""),
        verdict=filters.get("verdict", ""),
        is_filtered=bool(filters),
        events=f"/traffic/events?{urlencode(filters)}" if filters else "/traffic/events",
    )


async def _events(asked: Asked) -> Response:
    async def rows() -> str:
        is_filtered, names = bool(_filters(asked)), names_of_tunnels(asked)
        return asked.written("traffic/rows.html", rows=_rows(asked), names=names, is_filtered=is_filtered)

    return sse.stream(asked, ("traffic",), {"rows": rows})


async def _one(asked: Asked) -> Response:
    row = asked.deps.services.traffic.get(asked.actor, asked.named("id"))
    names = names_of_tunnels(asked)
    if asked.by_htmx:
        return asked.part("traffic/drawer.html", row=row, names=names)
    return asked.page("traffic/one.html", row=row, names=names)


def names_of_tunnels(asked: Asked) -> dict[str, str]:
    """What the actor's tunnels are called, by their ids."""
    return {tunnel.id: tunnel.name for tunnel in asked.deps.services.tunnels.tunnels(asked.actor)}


def _filters(asked: Asked) -> dict[str, str]:
    """What the address asks for; what makes no sense is left out."""
    known: dict[str, tuple[str, ...]] = {"status": _keys(STATUSES), "verdict": _keys(VERDICTS)}
    asked_for = {name: asked.query(name) for name in ("host", "status", "verdict")}
    return {name: text for name, text in asked_for.items() if text and text in known.get(name, (text,))}


def _rows(asked: Asked) -> list[TrafficRow]:
    filters = _filters(asked)
    status = filters.get("status")
    return asked.deps.services.traffic.recent(
        asked.actor,
        host=filters["host"].lower() if "host" in filters else None,
        status=int(status) if status else None,
        verdict=next((verdict for verdict, _ in VERDICTS if verdict and verdict == filters.get("verdict")), None),
        limit=ROWS,
    )


def _keys(options: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(key for key, _ in options)
