"""Exports captured exchanges as HAR 1.2 (http://www.softwareishard.com/blog/har-12-spec), with secrets masked. Does no
I/O.
"""

import base64
from typing import Any
from urllib.parse import parse_qsl

from tunnelctl import __version__
from tunnelctl.inspector.store import Capture
from tunnelctl.inspector.views import (
    Headers,
    ShownMessage,
    duration,
    field_of,
    show,
    started_at,
    status_words,
    timing,
    visitor_of,
)

MAX_PARAMETERS = 1000
"""Maximum parameters of one query that are listed; the URL contains all of them."""


def archive_head() -> dict[str, Any]:
    """Return the archive without its entries."""
    return {"version": "1.2", "creator": {"name": "tunnelctl", "version": __version__}, "pages": []}


def entry(capture: Capture, id_: str) -> dict[str, Any]:
    """Return the entry of one exchange."""
    shown = show(capture)
    headers = shown.request.headers
    scheme = field_of(headers, "x-forwarded-proto") or "http"
    host = field_of(headers, "x-forwarded-host") or field_of(headers, "host")
    request: dict[str, Any] = {
        "method": shown.method,
        "url": f"{scheme}://{host}{shown.target}",
        "httpVersion": "HTTP/1.1",
        "cookies": _cookies(headers, "cookie"),
        "headers": _pairs(headers),
        "queryString": _query(shown.target),
        "headersSize": -1,
        "bodySize": shown.request.size,
    }
    if shown.request.size:
        request["postData"] = {
            "mimeType": shown.request.content_type,
            "text": shown.request.body.data.decode("latin-1"),
        }
    took = timing(capture, visitor_of(capture))
    return {
        "startedDateTime": started_at(capture),
        "time": _milliseconds(duration(capture)),
        "request": request,
        "response": _response(shown.response, shown.status),
        "cache": {},
        "timings": {
            "blocked": _milliseconds(took["gate"]),
            "dns": -1,
            "connect": _milliseconds(took["connect"]),
            "send": max(0, _milliseconds(took["send"])),
            "wait": max(0, _milliseconds(took["wait"])),
            "receive": max(0, _milliseconds(took["receive"])),
            "ssl": -1,
        },
        "_id": id_,
    }


def _response(message: ShownMessage | None, status: int) -> dict[str, Any]:
    """Return the response of an entry; with status 0 if there is none, as browsers write it."""
    if message is None:
        headers: Headers = ()
        content: dict[str, Any] = {"size": 0, "mimeType": "x-unknown"}
        size, words = -1, ""
    else:
        headers = message.headers
        size, words = message.size, status_words(status).partition(" ")[2]
        content = {"size": message.size, "mimeType": message.content_type or "x-unknown"}
        if message.body.data:
            content |= {"text": base64.b64encode(message.body.data).decode("ascii"), "encoding": "base64"}
    return {
        "status": status,
        "statusText": words,
        "httpVersion": "HTTP/1.1",
        "cookies": _cookies(headers, "set-cookie"),
        "headers": _pairs(headers),
        "content": content,
        "redirectURL": field_of(headers, "location"),
        "headersSize": -1,
        "bodySize": size,
    }


def _pairs(headers: Headers) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in headers]


def _cookies(headers: Headers, field: str) -> list[dict[str, str]]:
    """Return the cookies of a request or a response, with their values masked."""
    found = [value for name, value in headers if name.lower() == field]
    texts = [one for value in found for one in (value.split("; ") if field == "cookie" else [value.partition(";")[0]])]
    return [{"name": name, "value": value} for name, _, value in (text.partition("=") for text in texts)]


def _query(target: str) -> list[dict[str, str]]:
    query = target.partition("?")[2]
    if query.count("&") >= MAX_PARAMETERS:
        return []
    return [{"name": name, "value": value} for name, value in parse_qsl(query, keep_blank_values=True)]


def _milliseconds(nanoseconds: int | None) -> float:
    """Return milliseconds; -1 for an unknown duration."""
    return -1 if nanoseconds is None else round(nanoseconds / 1e6, 3)
