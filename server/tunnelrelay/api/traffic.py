"""The API's `/traffic`: lists the last requests of visitors. ngrok's API has no such resource."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tunnelrelay.api.values import Calling, Host, ResponseBody, Time, digits, needs, rfc3339
from tunnelrelay.services.services import Services
from tunnelrelay.services.traffic import TrafficRow

Verdict = Literal["let in", "kept out", "sent to sign in", "neither"]


class Request(ResponseBody):
    """A visitor's request that is finished."""

    id: str
    at: Time
    owner: str
    method: str
    host: str
    path: str
    """The path of the request without the query."""
    status: int
    seconds: float
    peer: str
    user: str
    """The subject of the visitor's login or token; empty when there is none."""
    email: str
    verdict: Verdict
    """Whether the endpoint's rules let the visitor in; `neither` when the request ended before the decision."""
    rule: str
    """The rule that decided whether the visitor was let in."""
    tunnel_id: str
    """The tunnel that served the request; empty when none did."""
    error: str
    source: str
    """The side that caused the error; empty without an error."""
    bytes_in: int
    bytes_out: int
    upgrade: str


class RequestList(ResponseBody):
    """A list of the last requests that this relay has answered, the newest first."""

    requests: list[Request]
    uri: str
    next_page_uri: None
    """Always null: older requests are only in the access log."""


class TrafficQuery(BaseModel):
    """Filters of the list of requests."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)

    host: Host | None = None
    """Only requests for this host."""
    status: Annotated[int, Field(ge=1, le=5), BeforeValidator(digits)] | None = None
    """Only requests answered with a status of this class: 4 for 400 to 499."""
    verdict: Verdict | None = None
    """Only requests with this verdict of the endpoint's rules."""
    limit: Annotated[int, Field(ge=1, le=100), BeforeValidator(digits)] = 100
    """The number of requests in one response."""


def _view(row: TrafficRow) -> Request:
    return Request(
        id=row.id,
        at=rfc3339(row.at),
        owner=row.owner,
        method=row.method,
        host=row.host,
        path=row.path,
        status=row.status,
        seconds=round(row.seconds, 6),
        peer=row.peer,
        user=row.user,
        email=row.email,
        verdict=row.verdict,
        rule=row.rule,
        tunnel_id=row.tunnel,
        error=row.error,
        source=row.source,
        bytes_in=row.bytes_in,
        bytes_out=row.bytes_out,
        upgrade=row.upgrade,
    )


def routes(services: Services) -> APIRouter:
    """Return the routes of `/traffic`."""
    router = APIRouter(tags=["traffic"])

    @router.get("/traffic", **needs("traffic:read"))
    async def list_traffic(call: Calling, query: Annotated[TrafficQuery, Query()]) -> RequestList:
        """The last requests that this relay has answered; a member sees those for endpoints of the member's owner."""
        rows = services.traffic.recent(
            call.actor, host=query.host, status=query.status, verdict=query.verdict, limit=query.limit
        )
        return RequestList(requests=[_view(row) for row in rows], uri=call.links.to("traffic"), next_page_uri=None)

    return router
