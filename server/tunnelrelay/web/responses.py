"""Builds responses for the relay's own pages: a reply, an error of the table, and the refusal of fetches."""

from starlette.requests import Request
from starlette.responses import Response

from tunnelrelay.model import Reply, RequestKind
from tunnelrelay.pages.page import error_reply
from tunnelrelay.web.request_parsing import field_values, page_request_of

_OPENED = frozenset({RequestKind.NAVIGATION, RequestKind.FORM, RequestKind.PASSED_ON})
"""Kinds of requests that open a page. PASSED_ON can occur at the end of a provider's redirects."""


def response(reply: Reply) -> Response:
    """Return the reply as a Starlette response."""
    answer = Response(reply.body, reply.status)
    # Pass raw bytes: Starlette's header mapping would merge the reply's Set-Cookie fields into one.
    answer.raw_headers = [(name.lower(), value) for name, value in reply.fields]
    answer.raw_headers.append((b"content-length", b"%d" % len(reply.body)))
    return answer


def error(code: str, request: Request) -> Response:
    """Return an error of the table, as a page or JSON."""
    page_request = page_request_of(request.scope)
    accepts = b",".join(field_values(request.scope, b"accept")).lower()
    wants_html = b"text/html" in accepts
    return response(
        error_reply(code, request_id=page_request.request_id, host=page_request.host, wants_html=wants_html)
    )


def refusal_of_fetch(request: Request, methods: tuple[str, ...] = ("GET",)) -> str:
    """Return the error code for a request that does not open a page; "" for one that does."""
    kind = page_request_of(request.scope).request_kind
    if kind is RequestKind.PREFETCH:
        return "prefetch_refused"
    if request.method not in methods:
        return "method_not_allowed"
    return "" if kind in _OPENED else "login_required"
