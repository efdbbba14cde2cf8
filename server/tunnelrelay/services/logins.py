"""Visitors' logins: lists who is signed in at which endpoint, and ends logins.

A login's public id is a handle, the beginning of its key's digest, which is not a credential. A member sees logins at
hosts of the member's owner: names it holds, domains and edges.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tunnelrelay.services.actor import Access, Actor
from tunnelrelay.services.problems import missing
from tunnelrelay.services.service_base import ServiceBase, page_size
from tunnelrelay.store.base import SessionCriteria, SessionHolder

AREA = "sessions"
WHAT = "login"
HANDLE_LENGTH = 16
"""Hex digits of a handle: 64 bits, so that no two of a hundred thousand logins share one."""
_HANDLE = re.compile(rf"[0-9a-f]{{{HANDLE_LENGTH}}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginView:
    """A login as API and dashboard show it. Times are Unix seconds.

    Attributes:
        id: The handle.
    """

    id: str
    host: str
    email: str
    subject: str
    issuer: str
    created_at: float
    last_seen_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class Logins:
    """Lists and ends visitors' logins, for the API and the dashboard.

    Attributes:
        apply_revocations: Ends sessions on this relay at once that were ended in the store; other relays do so within 5
            s.
    """

    base: ServiceBase
    apply_revocations: Callable[[], Awaitable[int]]

    async def page(
        self,
        actor: Actor,
        host: str | None = None,
        email: str | None = None,
        *,
        before: str | None = None,
        limit: int = 100,
    ) -> list[LoginView]:
        """Return logins that have not expired, the most recently used first.

        Args:
            email: Return only logins with exactly this e-mail address, in any case.
            before: The last handle of the previous page. If that login has ended, the result is empty and the reader
                must begin again.
        """
        self.base.authorize(actor, AREA, Access.READ)
        size = page_size(limit)
        with self.base.store_calls():
            after = None if before is None else await self._of_handle(actor, before)
            if before is not None and after is None:
                return []
            criteria = self._criteria(actor, host=host, email=None if email is None else email.lower())
            return [_view(row) for row in await self.base.store.sessions(criteria, limit=size, after=after)]

    async def get(self, actor: Actor, login_id: str) -> LoginView:
        """Return the login with this id.

        Raises:
            ManageError: FORBIDDEN, MISSING, AWAY.
        """
        self.base.authorize(actor, AREA, Access.READ)
        with self.base.store_calls():
            return _view(await self._known(actor, login_id))

    async def revoke(self, actor: Actor, login_id: str) -> None:
        """End a login and close its connections: on this relay before the call returns, on others within 5 s.

        Raises:
            ManageError: FORBIDDEN, MISSING, AWAY.
        """
        base = self.base
        base.authorize(actor, AREA, Access.WRITE)
        with base.store_calls():
            row = await self._known(actor, login_id)
            ended = await base.store.revoke_sessions(SessionCriteria(key=row.key), base.clock())
            await self.apply_revocations()
        for each in ended:
            base.audit.record(
                "session.revoke",
                host=each.host,
                connection=each.connection_id,
                subject=each.subject,
                issuer=each.issuer,
                actor=actor.user_id,
                peer=actor.peer,
                request_id=actor.request_id,
                via=actor.via,
            )

    async def revoke_all(self, actor: Actor, host: str) -> int:
        """End every login at a host, as `revoke` does. Return their number.

        Raises:
            ManageError: FORBIDDEN, MISSING for a host that the actor may not see, AWAY.
        """
        base = self.base
        base.authorize(actor, AREA, Access.WRITE)
        with base.store_calls():
            if actor.only_owner is not None and not await self._is_host_of(actor.only_owner, host):
                raise missing("host")
            now = base.clock()
            ended = await base.store.revoke_sessions(SessionCriteria(host=host, live_at=now), now)
            await self.apply_revocations()
        if ended:
            base.audit.record(
                "session.revoke",
                host=host,
                actor=actor.user_id,
                peer=actor.peer,
                request_id=actor.request_id,
                via=actor.via,
                count=str(len(ended)),
            )
        return len(ended)

    async def _is_host_of(self, owner: str, host: str) -> bool:
        """Return whether a host belongs to this owner now: a name it holds or held last, its domain or its edge's
        host.
        """
        store = self.base.store
        found = (await store.name(host), await store.domains.find(host=host), await store.edges.find(host=host))
        return any(one is not None and one.owner == owner for one in found)

    def _criteria(self, actor: Actor, **which: Any) -> SessionCriteria:
        """Return criteria for live logins that the actor may see."""
        return SessionCriteria(live_at=self.base.clock(), owner=actor.only_owner, **which)

    async def _of_handle(self, actor: Actor, login_id: str) -> SessionHolder | None:
        """Return the login with this handle; None when there is none, or more than one."""
        if not _HANDLE.fullmatch(login_id):
            return None
        criteria = self._criteria(actor, handle=bytes.fromhex(login_id))
        found = await self.base.store.sessions(criteria, limit=2)
        return found[0] if len(found) == 1 else None

    async def _known(self, actor: Actor, login_id: str) -> SessionHolder:
        found = await self._of_handle(actor, login_id)
        if found is None:
            raise missing(WHAT)
        return found


def handle(row: SessionHolder) -> str:
    """Return the public id of a login."""
    return row.key.hex()[:HANDLE_LENGTH]


def _view(row: SessionHolder) -> LoginView:
    return LoginView(
        id=handle(row),
        host=row.host,
        email=row.email,
        subject=row.subject,
        issuer=row.issuer,
        created_at=row.created_at,
        last_seen_at=row.last_seen,
        expires_at=row.expires_at,
    )
