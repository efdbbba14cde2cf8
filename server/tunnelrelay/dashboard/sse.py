"""Pieces of a page that stay true without a reload: an event stream that sends each again when it has changed.

A page says `<div hx-ext="sse" sse-connect="/edges/ID/events"><div sse-swap="tunnels">...</div></div>`; the stream's
handler returns `stream(asked, topics, {"tunnels": render})`, where `render` gives the piece's HTML as it is now.

The user is looked up anew all the time: a stream ends within `LOOK_SECONDS` of their signing out. The task is the
response's own, which the server cancels when the browser goes or the relay stops.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

from starlette.responses import Response, StreamingResponse

from tunnelrelay.dashboard.current_user import current_user
from tunnelrelay.dashboard.request_input import Asked
from tunnelrelay.services.problems import ManageError
from tunnelrelay.services.traffic import Changes

LOOK_SECONDS = 2.0
"""How often it is looked at what nothing tells of: figures, and whether the session is still good (5 s, row 145)."""
REST_FACTOR, MAX_REST_SECONDS = 50.0, 5.0
"""A stream rests so many times as long as its pieces took to write: the relay's visitors wait meanwhile, and whoever
has a thousand endpoints, and changes them all the time, must not have them wait for him."""
PING_SECONDS = 15.0
"""How long a stream may be silent: proxies close what says nothing for 30 to 60 s."""
OVER = "over"
"""The event that says that there is nothing to see here any more; the page loads itself anew then."""

_TIMES = re.compile(r"(<time [^>]*>)[^<]*")
"""How long ago something was changes all the time; the page tells that by itself."""
_HEADERS = {"X-Accel-Buffering": "no"}
"""Asks an nginx in front of the relay to pass on events as they come."""

Render = Callable[[], Awaitable[str]]


def stream(asked: Asked, topics: Iterable[str], pieces: Mapping[str, Render]) -> Response:
    """The answer to an `EventSource`.

    Args:
        topics: What to be woken by; see `observe.feed`.
        pieces: How to write each piece, by the name of its event. A `ManageError` ends the stream: what it was about is
            gone, or no longer theirs.
    """
    changes = asked.deps.services.traffic.follow(asked.actor, *topics)
    return StreamingResponse(_events(asked, changes, pieces), media_type="text/event-stream", headers=_HEADERS)


def event(name: str, data: str) -> str:
    """One event as it is sent."""
    lines = "".join(f"data: {line}\n" for line in data.splitlines() or [""])
    return f"event: {name}\n{lines}\n"


async def _events(asked: Asked, changes: Changes, pieces: Mapping[str, Render]) -> AsyncIterator[str]:
    now = asyncio.get_running_loop().time
    shown: dict[str, str] = {}
    spoke_at = rests_until = now()
    try:
        while await _is_signed_in(asked):
            took = 0.0
            for name, render in pieces.items() if now() >= rests_until else ():
                began = now()
                written = await render()
                took += now() - began
                if shown.get(name) != (said := _TIMES.sub(r"\1", written)):
                    shown[name] = said
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
    """Returns when something has changed, and after so many seconds whatever happens."""
    try:
        async with asyncio.timeout(seconds):
            await anext(aiter(changes), None)
    except TimeoutError:
        return


async def _is_signed_in(asked: Asked) -> bool:
    """Whether they are still who they were: a user who is no administrator any more sees less from now on."""
    now = await current_user(asked.deps, asked.request.scope)
    return now is not None and now.actor == asked.actor
