"""The API's error responses: problem details (RFC 9457), with the members of ngrok's errors added."""

import json
import re
from collections.abc import Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tunnelrelay.api.codes import CODES
from tunnelrelay.services.problems import Kind, ManageError
from tunnelrelay.web.request_parsing import page_request_of

MEDIA_TYPE = "application/problem+json"
MAX_FIELDS = 32
"""Wrong fields that an error response names at most; a body can be wrong in many more places."""


class Problem(BaseModel):
    """The body of every error response."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(description="`urn:tunnel:problem:` and the code; see the table of errors.")
    title: str = Field(description="What the code means, the same every time.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What went wrong here, and what to do about it.")
    instance: str = Field(description="`urn:tunnel:request:` and the request's id, as the relay's log has it.")
    error_code: str = Field(description="The code in ngrok's form: `ERR_NGROK_…` where ngrok has the error too.")
    status_code: int = Field(description="The status again, as ngrok names it.")
    msg: str = Field(description="The detail again, as ngrok names it.")
    details: dict[str, str] = Field(
        description="`operation_id` is the request's id; the others are fields of the request and what is wrong there."
    )


def problem(
    code: str,
    detail: str,
    request_id: str,
    *,
    fields: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """Return the error response for a code of `codes.CODES`.

    Args:
        detail: Explanation for people, which never repeats values of the request.
        fields: A message for each wrong field of the request.
    """
    row = CODES[code]
    known = dict(list((fields or {}).items())[:MAX_FIELDS])
    body = Problem(
        type=f"urn:tunnel:problem:{code}",
        title=row.title,
        status=row.status,
        detail=detail,
        instance=f"urn:tunnel:request:{request_id}",
        error_code=row.error_code(code),
        status_code=row.status,
        msg=detail,
        details={**known, "operation_id": request_id},
    )
    content = json.dumps(body.model_dump(), ensure_ascii=False).encode()
    return Response(content, body.status, headers, media_type=MEDIA_TYPE)


# Exception handlers of the FastAPI app


async def of_manage(request: Request, error: ManageError) -> Response:
    """Return the error response for a `ManageError`, with which the service layer refuses an operation."""
    detail = f"{error.message} {error.hint}".strip()
    headers = {"Retry-After": str(error.retry_after)} if error.kind in (Kind.AWAY, Kind.BUSY) else None
    return problem(error.code, detail, _id_of(request), fields=error.fields, headers=headers)


async def of_validation(request: Request, error: RequestValidationError) -> Response:
    """Return the error response for a request that the schema does not allow; 404 for a malformed id in the path."""
    problems = error.errors()
    if any(found["loc"][:1] == ("path",) for found in problems):
        return problem("not_found", "There is no such thing.", _id_of(request))
    fields = {_name(found["loc"]): str(found["msg"]) for found in problems}
    detail = "; ".join(f"{name}: {message}" for name, message in list(fields.items())[:MAX_FIELDS])
    is_foreign = any(found["type"] == "not_supported" for found in problems)
    return problem("not_supported" if is_foreign else "request_invalid", detail, _id_of(request), fields=fields)


async def of_http(request: Request, error: HTTPException) -> Response:
    """Return the error response for an unknown path, or for a method that the path does not allow."""
    if error.status_code == 405:
        # Starlette lists the methods of the first matching route only.
        allowed = request.app.state.methods_at(request.scope["path"])
        headers = {"Allow": ", ".join(allowed)} if allowed else dict(error.headers or {})
        return problem("method_not_allowed", "This method is not for this path.", _id_of(request), headers=headers)
    if error.status_code == 404:
        return problem("route_unknown", "There is nothing at this path.", _id_of(request))
    return problem("body_malformed", "The body cannot be read.", _id_of(request))


async def of_failure(request: Request, _error: Exception) -> Response:
    """Return the 500 response for an unexpected error. It names only the request's id; the log has the rest."""
    return problem("internal_error", "The relay failed; its log says why.", _id_of(request))


def _id_of(request: Request) -> str:
    return page_request_of(request.scope).request_id


def _name(loc: Sequence[Any]) -> str:
    """Return the name of a wrong field: `oidc.scopes.0` for pydantic's location `("body", "oidc", "scopes", 0)`.

    Parts that are no field names come from the sender and are left out.
    """
    parts = [str(part) if _FIELD.fullmatch(str(part)) else "…" for part in loc if part not in ("body", "query")]
    return ".".join(parts) or "body"


_FIELD = re.compile(r"[a-z0-9_]{1,40}")
