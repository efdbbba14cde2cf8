"""The API's OpenAPI document: the one that FastAPI generates, with this API's error responses in it."""

import gzip
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tunnelctl import __version__
from tunnelrelay.address import PublicAddress
from tunnelrelay.api.links import base_urls
from tunnelrelay.api.problem import MEDIA_TYPE, Problem, problem
from tunnelrelay.web.request_parsing import page_request_of

PROBLEMS = {
    "400": "The request makes no sense.",
    "401": "No good API key was shown.",
    "403": "The key's scopes or its user's role do not allow it.",
    "404": "There is no such thing, or none the key's user may know of.",
    "409": "Something else is in the way.",
    "413": "The body is too large.",
    "415": "The body is not application/json.",
    "429": "Too many wrong keys of this address, or changes of this user; `Retry-After` tells when to go on.",
    "500": "The relay failed.",
    "503": "The store or a provider cannot be asked at the moment.",
}
"""The errors that every operation may answer with, by HTTP status, for the OpenAPI document."""
DESCRIPTION = """\
Everything an administrator or member can do in the dashboard. Resources that ngrok's API has too have its paths and
field names. A member's key sees and changes what his owner owns; everything else does not exist for it."""


TAGS = {
    "https_edges": "Durable endpoints that tunnels join.",
    "https_edge_routes": "The route of an edge, which has its modules.",
    "https_edge_route_modules": "What guards an edge, and who serves it.",
    "tunnel_group_backends": "Tunnels that carry the same labels.",
    "reserved_domains": "Host names that are yours.",
    "reserved_addrs": "Tcp ports that are yours.",
    "endpoints": "What answers at this moment: edges, and what agents serve.",
    "tunnels": "What agents serve at this moment.",
    "tunnel_sessions": "Agents that are connected.",
    "credentials": "Authtokens of agents.",
    "trust_rules": "CI jobs that connect by their own ID tokens.",
    "api_keys": "Keys for this API.",
    "providers": "OpenID providers that owners name as `@name`.",
    "users": "Who may sign in and own keys.",
    "application_sessions": "Logins of visitors.",
    "traffic": "The last requests of visitors.",
    "audit": "What happened, and who did it.",
}
"""Descriptions of the OpenAPI document's tags, one for each kind of resource."""
CACHE_CONTROL = "public, max-age=3600"
"""`Cache-Control` of the OpenAPI document, which is the same for all clients and changes only with a release."""


class SchemaPage:
    """ASGI app that answers with the OpenAPI document, serialised and gzipped once.

    Clients need no key for it, so it must be cheap: serialising it for each request took 7 to 11 ms of the event loop.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        plain = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        packed = gzip.compress(plain, mtime=0)
        etag = f'"{hashlib.sha256(plain).hexdigest()[:32]}"'
        headers = {"Cache-Control": CACHE_CONTROL, "ETag": etag, "Vary": "Accept-Encoding"}
        self._etag = etag
        self._plain = Response(plain, headers=headers, media_type="application/json")
        self._packed = Response(packed, headers=headers | {"Content-Encoding": "gzip"}, media_type="application/json")
        self._unchanged = Response(status_code=304, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer GET and HEAD with the OpenAPI document, gzipped for clients that accept it."""
        if scope["method"] not in ("GET", "HEAD"):
            detail, allowed = "This method is not for this path.", {"Allow": "GET, HEAD"}
            answer = problem("method_not_allowed", detail, page_request_of(scope).request_id, headers=allowed)
        else:
            answer = self._answer(Headers(scope=scope))
        await answer(scope, receive, send)

    def _answer(self, headers: Headers) -> Response:
        known = {tag.strip().removeprefix("W/") for tag in headers.get("if-none-match", "").split(",")}
        if known & {self._etag, "*"}:
            return self._unchanged
        accepted = {part.strip().lower() for part in headers.get("accept-encoding", "").split(",")}
        return self._packed if "gzip" in accepted else self._plain


def describe(app: FastAPI, address: PublicAddress) -> dict[str, Any]:
    """Return the app's OpenAPI document. Its servers are the relay's public URLs, whatever the request's Host is."""
    document: dict[str, Any] = get_openapi(
        title="tunnelrelay",
        version=__version__,
        openapi_version="3.1.0",
        description=DESCRIPTION,
        tags=[{"name": name, "description": words} for name, words in TAGS.items()],
        routes=app.routes,
        servers=[{"url": base} for base in base_urls(address).values()],
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for foreign in ("HTTPValidationError", "ValidationError"):
        schemas.pop(foreign, None)
    schemas["Problem"] = Problem.model_json_schema()
    components["securitySchemes"] = {"apiKey": {"type": "http", "scheme": "bearer", "description": "A key `ta_…`."}}
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    components["responses"] = {
        f"Problem{status}": {"description": meaning, "content": content} for status, meaning in PROBLEMS.items()
    }
    document["security"] = [{"apiKey": []}]
    for name, schema in schemas.items():
        _close(schema)
        if name.endswith("Change"):
            # Absent fields stay as they are, so there are no defaults.
            for field in schema["properties"].values():
                field.pop("default", None)
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            for parameter in operation.get("parameters", ()):
                parameter["schema"] = _without_null(parameter["schema"])
            operation["responses"] |= {
                status: {"$ref": f"#/components/responses/Problem{status}"} for status in PROBLEMS
            }
    return document


def methods_at(document: dict[str, Any]) -> Callable[[str], list[str]]:
    """Return a function that lists the HTTP methods which the OpenAPI document has for a path."""
    known = [
        (re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), [method.upper() for method in operations])
        for path, operations in document["paths"].items()
    ]

    def methods(path: str) -> list[str]:
        return sorted(method for form, methods in known if form.fullmatch(path) for method in methods)

    return methods


def _close(schema: Any) -> None:
    """In a JSON schema, forbid keys that do not match the pattern of their map; pydantic's schema allows them."""
    if isinstance(schema, dict):
        if "patternProperties" in schema:
            schema["additionalProperties"] = False
        for part in schema.values():
            _close(part)
    elif isinstance(schema, list):
        for part in schema:
            _close(part)


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a parameter's JSON schema without null: a parameter of a URL is a text or absent."""
    kinds: list[dict[str, Any]] = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    rest: dict[str, Any] = {name: value for name, value in schema.items() if name != "anyOf"}
    return rest | kinds[0]
