"""Event streams that keep pieces of a page up to date: each is sent again when it has changed.

A page says `<div hx-ext="sse" sse-connect="/edges/ID/events"><div sse-swap="tunnels">...</div></div>`; the stream's
handler returns `stream(request, topics, {"tunnels": render})`, where `render` writes the piece's HTML as it is now.

The user is looked up again all the time: a stream ends within `LOOK_SECONDS` of their signing out. It runs in the
response's own task, which the server cancels when the browser goes or the relay stops. Not sse-starlette: it would save
ten lines, and it replaces uvicorn's signal handler on import and runs tasks of its own beside each stream.
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
"""How often a stream checks what it gets no notice of: figures, and whether the session is still good."""
REST_FACTOR, MAX_REST_SECONDS = 50.0, 5.0
"""A stream rests this many times as long as its pieces took to write, because writing them blocks the relay's loop:
a user with a thousand endpoints that change all the time must not slow visitors down."""
PING_SECONDS = 15.0
"""How long a stream may be silent: proxies close connections that are silent for 30 to 60 s."""
OVER = "over"
"""The last event of a stream; the page reloads itself on it."""

_TIMES = re.compile(r"(<time [^>]*>)[^<]*")
"""A relative time. It changes all the time and the page's script updates it, so it does not count as a change."""
_HEADERS = {"X-Accel-Buffering": "no"}
"""Tells an nginx in front of the relay not to buffer events."""

Render = Callable[[], Awaitable[str]]


def stream(request: UserRequest, topics: Iterable[str], pieces: Mapping[str, Render]) -> Response:
    """Return the response to an `EventSource`.

    Args:
        topics: Topics of `observe.feed` whose changes make the stream write its pieces again.
        pieces: A function that writes each piece, by the name of its event. A `ManageError` ends the stream: its
            subject is gone, or no longer the user's.
    """
    changes = request.deps.services.traffic.follow(request.actor, *topics)
    return StreamingResponse(_events(request, changes, pieces), media_type="text/event-stream", headers=_HEADERS)


def event(name: str, data: str) -> str:
    """Return one event in its wire form."""
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
    """Wait for a change, at most `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await anext(aiter(changes), None)
    except TimeoutError:
        return


async def _is_signed_in(request: UserRequest) -> bool:
    """Whether the same user is signed in with the same role; with a lesser role the page must be loaded again."""
    now = await current_user(request.deps, request.raw.scope)
    return now is not None and now.actor == request.actor
