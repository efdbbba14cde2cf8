"""The pages of the audit log: list and filter events, with changed values before and after, and export them as CSV."""

import csv
import io
from collections.abc import Iterable

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.listing import address, listing
from tunnelrelay.dashboard.request_input import UserRequest, page_route
from tunnelrelay.dashboard.views.audit_event import EventView, row_of, shown
from tunnelrelay.dashboard.views.event_names import NAMES as EVENT_NAMES
from tunnelrelay.services.audit_trail import MEANINGS

MAX_USERS = 1000
"""Users whose names are read for the list; others appear by their id."""
MAX_EXPORTED = 10_000
"""Events of one CSV file, a few megabytes. Filters by time, or the API, give further ones."""
EXPORT_PAGE = 1000
MAX_EVENT_ID = 2**62
SINCE: tuple[tuple[str, str, float], ...] = (
    ("", "Whenever", 0.0),
    ("1h", "Last hour", 3600.0),
    ("1d", "Last day", 86_400.0),
    ("7d", "Last 7 days", 7 * 86_400.0),
    ("30d", "Last 30 days", 30 * 86_400.0),
)
COLUMNS = ("time", "event", "reason", "host", "owner", "actor", "from", "person", "request", "relay", "details")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def routes(deps: Deps) -> list[Route]:
    return [page_route("/audit", _list), page_route("/audit/export.csv", _export)]


async def _list(request: UserRequest) -> Response:
    filters = _filters(request)
    events = await listing(request, lambda before, limit: _events(request, _event_id(before), limit), **filters)
    return request.page(
        "audit/list.html",
        page=events,
        filters=filters,
        is_filtered=any(filters.values()),
        kinds=sorted(EVENT_NAMES.items(), key=lambda each: each[1]),
        since=[(key, text) for key, text, _ in SINCE],
        export=address("/audit/export.csv", **filters),
    )


async def _export(request: UserRequest) -> Response:
    """Return the filtered events as a CSV file, at most `MAX_EXPORTED`."""
    found: list[EventView] = []
    while len(found) < MAX_EXPORTED:
        events = await _events(request, found[-1].id if found else None, EXPORT_PAGE)
        found += events
        if len(events) < EXPORT_PAGE:
            break
    headers = {"Content-Disposition": 'attachment; filename="audit.csv"'}
    return Response(table([COLUMNS, *map(row_of, found)]), headers=headers, media_type="text/csv; charset=utf-8")


def table(rows: Iterable[Iterable[str]]) -> str:
    """Return rows as CSV that is safe to open in a spreadsheet: a cell that would be a formula becomes a text.

    It prevents attack 139 in docs/concepts/security.md.
    """
    text = io.StringIO()
    csv.writer(text).writerows([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in row] for row in rows)
    return text.getvalue()


async def _events(request: UserRequest, before: int | None, limit: int) -> list[EventView]:
    services, filters = request.deps.services, _filters(request)
    lasting = next(seconds for key, _, seconds in SINCE if key == filters["since"])
    rows = await services.audit.page(
        request.actor,
        since=request.deps.clock() - lasting if lasting else 0.0,
        before=before,
        host=filters["host"] or None,
        kind=filters["kind"] or None,
        limit=limit,
    )
    users = await services.users.page(request.actor, limit=MAX_USERS)
    names = {user.id: user.name for user in users}
    people = await services.audit.people(request.actor, rows)
    return [shown(row, names, people) for row in rows]


def _filters(request: UserRequest) -> dict[str, str]:
    """Return the filters in the request's URL; invalid ones become ""."""
    kind, since = request.query("kind"), request.query("since")
    return {
        "kind": kind if kind in MEANINGS else "",
        "host": request.query("host").lower(),
        "since": since if since in {key for key, _, _ in SINCE} else "",
    }


def _event_id(text: str | None) -> int | None:
    """Return the event's id in a URL; None for none. A text that is no id becomes 0, so that the page is empty."""
    if text is None:
        return None
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
    return min(number, MAX_EVENT_ID)
