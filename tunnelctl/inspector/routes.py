"""The paths of the local API that show captured exchanges, delete them, and replay one; those of ngrok, and more.

    GET    /api/requests/http       list the newest; `limit`, `tunnel_name`, `format=har`, `format=summary`
    POST   /api/requests/http       replay one, unchanged or with changes
    DELETE /api/requests/http       delete all
    GET    /api/requests/http/:id   show one; `format=har`
    GET    /api/requests/events     report new ones, as a stream of events; `headers=true` adds headers

A list may be as large as the whole store. It is generated and sent in pieces, so that it neither blocks the event loop
nor needs much memory: only capture numbers are stored meanwhile, and captures deleted before their turn are skipped.
"""

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from tunnelctl.agent.agent import Agent
from tunnelctl.inspector import har, views
from tunnelctl.inspector.events import EventFeed, TooManyReaders
from tunnelctl.inspector.replays import ReplayChanges, Replayer, ReplayInvalid, TooManyReplays, TunnelAway
from tunnelctl.inspector.store import MAX_CAPTURES, Capture, CaptureStore
from tunnelctl.inspector.views import REQUESTS_PATH
from tunnelctl.localapi.api import ApiRoute
from tunnelctl.localapi.caller import NOT_YOURS, is_own_user
from tunnelctl.localapi.message import JSON, ApiAnswer, ApiError, ApiRequest, json_answer

EVENTS_PATH = "/api/requests/events"
LARGE = 8 * 1024
"""Bytes to mask from which an exchange is formatted in a thread: a head of 32 KB or a full body takes up to 50 ms,
which must not delay visitors."""
DEFAULT_LIMIT = 500
"""Number of exchanges in a list requested without `limit`."""
WAIT_SECONDS = 25.0
"""Maximum seconds that the response to a replay request is delayed until the replay has ended, if the client asks for
that; below `server.ANSWER_SECONDS`."""
Make = Callable[[Capture], Awaitable[dict[str, Any]]]
_REPLAY_KEYS: Mapping[str, type] = {
    "method": str,
    "uri": str,
    "set_headers": dict,
    "remove_headers": list,
    "body": str,
    "wait": bool,
    "tunnel_name": str,
}


def inspector_routes(agent: Agent, store: CaptureStore) -> tuple[ApiRoute, ...]:
    """Return the routes for an agent whose exchanges are captured in this store."""
    api = InspectorApi(agent, store)
    return (
        ApiRoute(REQUESTS_PATH, {"GET": api.show_all, "POST": api.replay, "DELETE": api.clear}),
        ApiRoute(f"{REQUESTS_PATH}/:id", {"GET": api.show}),
        ApiRoute(EVENTS_PATH, {"GET": api.follow}),
    )


@dataclass(frozen=True, slots=True)
class _AskedReplay:
    """The content of a POST body: the replay that a client asks for."""

    capture: Capture
    tunnel_name: str
    changes: ReplayChanges
    waits: bool


class InspectorApi:
    """The handlers of the inspector's paths."""

    def __init__(self, agent: Agent, store: CaptureStore) -> None:
        self._store = store
        self._agent = agent
        self._replayer = Replayer(agent, store)
        self._feed = EventFeed(store)

    async def show_all(self, request: ApiRequest, held: Mapping[str, str]) -> ApiAnswer:
        """Return the newest captures, the newest first."""
        query = _query(request)
        limit, tunnel = _limit(query.get("limit", "")), query.get("tunnel_name", "")
        numbers = [one.number for one in self._store.newest() if not tunnel or one.tunnel == tunnel][:limit]
        if query.get("format") == "har":
            start: dict[str, Any] = {"log": {**har.archive_head(), "entries": []}}
            stream = self._pieces(start, numbers, self._entry)
            return ApiAnswer(status=200, stream=stream, content_type=JSON, fields=_as_file("requests"))
        make = self._summary_for(query) if query.get("format") == "summary" else self._view
        start = {"uri": REQUESTS_PATH, "requests": []}
        return ApiAnswer(status=200, stream=self._pieces(start, numbers, make), content_type=JSON)

    async def show(self, request: ApiRequest, held: Mapping[str, str]) -> ApiAnswer:
        """Return one captured exchange, complete and with secrets masked."""
        capture = self._found(held["id"])
        if _query(request).get("format") != "har":
            return json_answer(await self._view(capture))
        log = {**har.archive_head(), "entries": [await self._entry(capture)]}
        return json_answer({"log": log}, fields=_as_file(held["id"]))

    async def clear(self, request: ApiRequest, held: Mapping[str, str]) -> ApiAnswer:
        """Delete all captures."""
        self._store.clear()
        return ApiAnswer(status=204)

    async def follow(self, request: ApiRequest, held: Mapping[str, str]) -> ApiAnswer:
        """Return the stream of events from now on."""
        try:
            reader = self._feed.open(self._summary_for(_query(request)))
        except TooManyReaders:
            raise ApiError(503, "too many readers", {"err": "close one of those that follow requests"}) from None
        return ApiAnswer(status=200, stream=reader, content_type="text/event-stream")

    async def replay(self, request: ApiRequest, held: Mapping[str, str]) -> ApiAnswer:
        """Replay a captured request."""
        asked = self._read(request.body)
        tunnel = self._agent.tunnels.get(asked.tunnel_name or asked.capture.tunnel)
        if tunnel is not None and tunnel.config.upstream.path and not await is_own_user(request.ends):
            raise ApiError(403, "request cannot be replayed", {"err": NOT_YOURS})
        try:
            made = self._replayer.start(asked.capture, asked.changes, asked.tunnel_name)
        except ReplayInvalid as error:
            raise _refused(str(error)) from None
        except TunnelAway as error:
            raise ApiError(404, "tunnel not found", {"name": str(error)}, 100) from None
        except TooManyReplays:
            raise ApiError(503, "too many replays", {"err": "wait until one of them is over"}) from None
        id_ = self._store.id_of(made.number)
        place = (("Location", f"{REQUESTS_PATH}/{id_}"),)
        if not asked.waits:
            return ApiAnswer(status=204, fields=place)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._replayer.wait(made)
        except TimeoutError:
            pass  # the client can look at it later
        return json_answer({"id": id_, "uri": f"{REQUESTS_PATH}/{id_}"}, 201, place)

    def _found(self, id_: str) -> Capture:
        capture = self._store.find(self._store.number_of(id_))
        if capture is None:
            raise ApiError(404, "request entry not found", {"id": id_}, 106)
        return capture

    async def _view(self, capture: Capture) -> dict[str, Any]:
        id_, replayed = self._store.id_of(capture.number), self._replayed_id(capture)
        return await _made(_whole_size(capture), views.view, capture, id_, replayed)

    async def _entry(self, capture: Capture) -> dict[str, Any]:
        return await _made(_whole_size(capture), har.entry, capture, self._store.id_of(capture.number))

    def _summary_for(self, query: Mapping[str, str]) -> Make:
        """Return the function that creates the summary of a capture, with headers if the query asks for them."""
        return partial(self._summary, has_headers=query.get("headers") == "true")

    async def _summary(self, capture: Capture, *, has_headers: bool) -> dict[str, Any]:
        id_, replayed = self._store.id_of(capture.number), self._replayed_id(capture)
        summarize = partial(views.summary, has_headers=has_headers)
        return await _made(_heads_size(capture), summarize, capture, id_, replayed)

    def _replayed_id(self, capture: Capture) -> str:
        return self._store.id_of(capture.replay_of) if capture.replay_of else ""

    async def _pieces(self, start: dict[str, Any], numbers: Sequence[int], make: Make) -> AsyncGenerator[bytes, None]:
        """Yield the pieces of a JSON document whose final empty list is filled with an item for each capture."""
        head, _, tail = json.dumps(start, separators=(",", ":")).rpartition("[]")
        yield head.encode() + b"["
        comma = b""
        for number in numbers:
            if (capture := self._store.find(number)) is not None:
                yield comma + json.dumps(await make(capture), separators=(",", ":")).encode()
                comma = b","
                await asyncio.sleep(0)
        yield f"]{tail}\n".encode()

    def _read(self, body: bytes) -> _AskedReplay:
        """Parse a POST body. Unknown keys are ignored, as npm's `ngrok` sends one."""
        try:
            fields = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise ApiError(400, "failed to deserialize request parameter", {"err": str(error)}) from None
        if not isinstance(fields, dict) or not isinstance(fields.get("id"), str):
            raise ApiError(400, "failed to deserialize request parameter", {"err": "`id` is missing, or no text"})
        capture = self._found(fields["id"])
        given = {name: fields[name] for name in _REPLAY_KEYS if fields.get(name) is not None}
        for name, value in given.items():
            if not isinstance(value, _REPLAY_KEYS[name]):
                raise _refused(f"{name} has a value of the wrong kind")
        set_headers, remove_headers = given.get("set_headers", {}), given.get("remove_headers", [])
        if not all(isinstance(text, str) for text in (*set_headers.values(), *remove_headers)):
            raise _refused("set_headers holds texts by name, and remove_headers names")
        changes = ReplayChanges(
            method=given.get("method"),
            target=given.get("uri"),
            set_headers=tuple(set_headers.items()),
            remove_headers=tuple(remove_headers),
            body=_decoded(given["body"]) if "body" in given else None,
        )
        return _AskedReplay(capture, given.get("tunnel_name", ""), changes, given.get("wait", False))


async def _made(size: int, make: Callable[..., dict[str, Any]], *args: object) -> dict[str, Any]:
    """Return what `make` returns, which masks `size` bytes; in a thread for many, so that the loop is not blocked."""
    return make(*args) if size < LARGE else await asyncio.to_thread(make, *args)


def _heads_size(capture: Capture) -> int:
    return len(capture.opened.head) + len(capture.lines)


def _whole_size(capture: Capture) -> int:
    return _heads_size(capture) + len(capture.request_body) + len(capture.response_body)


def _query(request: ApiRequest) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(request.query).items()}


def _limit(text: str) -> int:
    if not text:
        return DEFAULT_LIMIT
    if not text.isascii() or not text.isdigit():
        raise ApiError(400, "failed to deserialize request parameter", {"err": f"limit: {text[:32]!r} is no number"})
    return min(int(text[:9]), MAX_CAPTURES)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _refused("body is no base64") from None


def _refused(reason: str) -> ApiError:
    return ApiError(400, "request cannot be replayed", {"err": reason})


def _as_file(name: str) -> tuple[tuple[str, str], ...]:
    return (("Content-Disposition", f'attachment; filename="{name}.har"'),)
