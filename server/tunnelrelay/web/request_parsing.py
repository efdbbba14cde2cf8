"""Reads a request strictly: the ingress's `PageRequest`, and raw bytes.

Nothing derived from the Host field (`request.url`, `url_for`) is used, as the visitor sets it; nor is Starlette's
cookie parser, which takes other cookies for ours.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request

from tunnelrelay.model import PageRequest

Params = list[tuple[str, str]]

MAX_FORM = 16 * 1024
"""Bytes of a form. The largest is a provider's answer by form_post: a code, a state, a few words."""
MAX_PARAMS = 32


def page_request_of(scope: Mapping[str, Any]) -> PageRequest:
    """The `PageRequest` in an ASGI scope, which the ingress put there.

    Raises:
        KeyError: When the request did not come through the ingress. It must not be answered then.
    """
    page_request = scope["tunnel"]
    assert isinstance(page_request, PageRequest)
    return page_request


def field_values(scope: Mapping[str, Any], name: bytes) -> list[bytes]:
    """Every value of a request field, raw. `name` is lower-case."""
    return [value for key, value in scope["headers"] if key == name]


def query_params(scope: Mapping[str, Any]) -> Params:
    """The query's parameters in order, duplicates included; none when it cannot be decoded strictly."""
    return _parsed(scope["query_string"])


async def form_params(request: Request, *, max_bytes: int = MAX_FORM, max_params: int = MAX_PARAMS) -> Params | None:
    """The parameters of an urlencoded form; None when the body is another type, or larger than `max_bytes`."""
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
    """Return no parameters at all for bytes that are no UTF-8 and for floods of parameters: nothing is guessed."""
    try:
        text = encoded.decode("ascii")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=max_params)
    except ValueError:
        return []
