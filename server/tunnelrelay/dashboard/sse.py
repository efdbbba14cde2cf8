"""Server-sent events that keep parts of a page up to date: a part is sent again when its HTML has changed.

A page contains `<div hx-ext="sse" sse-connect="/edges/ID/events"><div sse-swap="tunnels">...</div></div>`; the handler
of that path returns `stream(request, topics, {"tunnels": render})`, where `render` returns the part's present HTML.

The sign-in is checked again and again: a stream ends within `LOOK_SECONDS` after the user signs out. It runs in the
response's own task, which the server cancels when the browser disconnects or the relay stops. sse-starlette is not
used: it would save ten lines, but it replaces uvicorn's signal handler on import and runs tasks of its own for each
stream.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

from starlette.responses import Response, StreamingResponse

from tunnelrelay.dashboard.current_user import current_user
from tunnelrelay.dashboard.request_input import UserRequest
from tunnelrelay.services.problems import ManageError
from tunnelrelay.services.traffic import Changes

LOOK_SECONDS = 2.0
"""Seconds between two checks of a stream for changes without a notice: traffic figures, and the end of the session."""
REST_FACTOR, MAX_REST_SECONDS = 50.0, 5.0
"""A stream pauses for this many times the time that rendering its parts took, at most `MAX_REST_SECONDS`. Rendering
blocks the event loop, and a user with a thousand endpoints that always change must not slow visitors down."""
PING_SECONDS = 15.0
"""Seconds after which a silent stream sends a comment, as proxies close connections that are silent for 30 to 60 s."""
OVER = "over"
"""Name of the last event of a stream, on which the page reloads itself."""

_TIMES = re.compile(r"(<time [^>]*>)[^<]*")
"""Pattern of a relative time in HTML, such as `5 s ago`. The page's script updates it, so it is no change to send."""
_HEADERS = {"X-Accel-Buffering": "no"}
"""Header fields of a stream: they tell an nginx in front of the relay not to buffer the events."""

Render = Callable[[], Awaitable[str]]


def stream(request: UserRequest, topics: Iterable[str], pieces: Mapping[str, Render]) -> Response:
    """Return the response to a browser's `EventSource`, which sends parts of a page when they change.

    Args:
        topics: Topics of `observe.feed`; at a change of one, the stream renders its parts again.
        pieces: A function that renders each part, by the name of its event. A `ManageError` of one ends the stream: the
            page's subject was deleted, or the user may no longer see it.
    """
    changes = request.deps.services.traffic.follow(request.actor, *topics)
    return StreamingResponse(_events(request, changes, pieces), media_type="text/event-stream", headers=_HEADERS)


def event(name: str, data: str) -> str:
    """Return one server-sent event in its wire format."""
    lines = "".join(f"data: {line}\n" for line in data.splitlines() or [""])
    return f"event: {name}\n{lines}\n"


async def _events(request: UserRequest, changes: Changes, pieces: Mapping[str, Render]) -> AsyncIterator[str]:
    now = asyncio.get_running_loop().time
    sent: dict[str, str] = {}
    spoke_at = rests_until = now()
    try:
        while await _is_signed_in(request):
            took = 0.0
            for name, render in pieces.items() if now() >= rests_until else ():
                began = now()
                written = await render()
                took += now() - began
                if sent.get(name) != (html := _TIMES.sub(r"\1", written)):
                    sent[name] = html
                    spoke_at = now()
                    yield event(name, written)
            if now() - spoke_at >= PING_SECONDS:
                spoke_at = now()
                yield ": still here\n\n"
            rests_until = max(rests_until, now() + min(REST_FACTOR * took, MAX_REST_SECONDS))
            rest = min(max(0.0, rests_until - now()), LOOK_SECONDS)
            await asyncio.sleep(rest)
            await _change_or_look(changes, LOOK_SECONDS - rest)
        yield event(OVER, "")
    except ManageError:
        yield event(OVER, "")
    finally:
        changes.close()


async def _change_or_look(changes: Changes, seconds: float) -> None:
    """Wait until something on the stream's topics changes, at most `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await anext(aiter(changes), None)
    except TimeoutError:
        return


async def _is_signed_in(request: UserRequest) -> bool:
    """Whether the request's user is still signed in, with the same role; after a change the page must be reloaded."""
    now = await current_user(request.deps, request.raw.scope)
    return now is not None and now.actor == request.actor
