"""Reads requests strictly: the ingress's `PageRequest`, header fields, query and form.

Values derived from the Host field (`request.url`, `url_for`) are not used, as the visitor controls it; nor is
Starlette's cookie parser, which can mistake other cookies for ours.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request

from tunnelrelay.model import PageRequest

Params = list[tuple[str, str]]

MAX_FORM = 16 * 1024
"""Maximum bytes of a form. The largest is a provider's response by form_post: a code, a state, a few words."""
MAX_PARAMS = 32


def page_request_of(scope: Mapping[str, Any]) -> PageRequest:
    """Return the `PageRequest` that the ingress put into an ASGI scope.

    Raises:
        KeyError: The request did not come through the ingress, and must not be answered.
    """
    page_request = scope["tunnel"]
    assert isinstance(page_request, PageRequest)
    return page_request


def field_values(scope: Mapping[str, Any], name: bytes) -> list[bytes]:
    """Return every value of a request field as bytes. `name` is in lower case."""
    return [value for key, value in scope["headers"] if key == name]


def query_params(scope: Mapping[str, Any]) -> Params:
    """Return the query's parameters in order, with duplicates; none when the query cannot be decoded strictly."""
    return _parsed(scope["query_string"])


async def form_params(request: Request, *, max_bytes: int = MAX_FORM, max_params: int = MAX_PARAMS) -> Params | None:
    """Return the parameters of an urlencoded form; None when the body has another type, or more than `max_bytes`."""
    types = field_values(request.scope, b"content-type")
    if len(types) != 1 or types[0].partition(b";")[0].strip().lower() != b"application/x-www-form-urlencoded":
        return None
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > max_bytes:
            return None
    return _parsed(bytes(body), max_params)


def _parsed(encoded: bytes, max_params: int = MAX_PARAMS) -> Params:
    """Parse urlencoded parameters. Return none at all if the bytes are not UTF-8 or there are too many parameters."""
    try:
        text = encoded.decode("ascii")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=max_params)
    except ValueError:
        return []
