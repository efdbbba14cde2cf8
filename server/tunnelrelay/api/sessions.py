"""The API's `/app/sessions`: lists visitors' login sessions and ends them."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from tunnelrelay.api.links import Links
from tunnelrelay.api.values import PRINTABLE, Calling, Host, Id, Page, ResponseBody, Time, cut, needs, rfc3339
from tunnelrelay.services.logins import LoginView
from tunnelrelay.services.services import Services

PATH = "app/sessions"


class ApplicationSession(ResponseBody):
    """The login session of one visitor at one endpoint."""

    id: str
    """The session's id in the API, which differs from the secret in the visitor's cookie."""
    uri: str
    public_url: str
    """The URL of the endpoint."""
    browser_session: None
    application_user: None
    created_at: Time
    last_active: Time
    expires_at: Time
    endpoint: None
    edge: None
    route: None
    host: str
    email: str
    subject: str
    issuer: str


class ApplicationSessionList(ResponseBody):
    """A page of login sessions, the most recently used first."""

    application_sessions: list[ApplicationSession]
    uri: str
    next_page_uri: str | None


class SessionQuery(Page):
    """Filters of the list of login sessions."""

    host: Host | None = None
    """Only sessions at this host."""
    email: Annotated[str, Field(min_length=1, max_length=254, pattern=PRINTABLE)] | None = None
    """Only sessions of this whole e-mail address; upper and lower case are the same."""


def _view(links: Links, row: LoginView) -> ApplicationSession:
    return ApplicationSession(
        id=row.id,
        uri=links.to(PATH, row.id),
        public_url=links.address.url(row.host),
        browser_session=None,
        application_user=None,
        created_at=rfc3339(row.created_at),
        last_active=rfc3339(row.last_seen_at),
        expires_at=rfc3339(row.expires_at),
        endpoint=None,
        edge=None,
        route=None,
        host=row.host,
        email=row.email,
        subject=row.subject,
        issuer=row.issuer,
    )


def routes(services: Services) -> APIRouter:
    """Return the routes of `/app/sessions`."""
    router = APIRouter(tags=["application_sessions"])
    logins = services.logins

    @router.get(f"/{PATH}", **needs("sessions:read"))
    async def list_application_sessions(
        call: Calling, page: Annotated[SessionQuery, Query()]
    ) -> ApplicationSessionList:
        """Login sessions that have not ended; a member sees those at the endpoints of the member's owner."""
        rows = await logins.page(
            call.actor, host=page.host, email=page.email, before=page.before_id, limit=page.one_more
        )
        found = cut(call, PATH, page, rows, lambda row: row.id)
        return ApplicationSessionList(
            application_sessions=[_view(call.links, row) for row in found.rows],
            uri=found.uri,
            next_page_uri=found.next_page_uri,
        )

    @router.get(f"/{PATH}/{{id}}", **needs("sessions:read"))
    async def get_application_session(call: Calling, id: Id) -> ApplicationSession:
        """One login session."""
        return _view(call.links, await logins.get(call.actor, id))

    @router.delete(f"/{PATH}/{{id}}", status_code=204, **needs("sessions:write"))
    async def delete_application_session(call: Calling, id: Id) -> None:
        """Ends a login session, and closes its open connections at once."""
        await logins.revoke(call.actor, id)

    return router
