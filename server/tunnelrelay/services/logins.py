"""Visitors' logins: who is signed in at which endpoint, and ending that.

A login is shown under a handle, the beginning of its key's digest, which opens nothing. A member sees those at hosts
that are his owner's: a name it holds, a domain or an edge.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tunnelrelay.services.actor import Access, Actor
from tunnelrelay.services.problems import missing
from tunnelrelay.services.service_base import ServiceBase, page_size
from tunnelrelay.store.base import SessionHolder, Whose

AREA = "sessions"
WHAT = "login"
HANDLE_LENGTH = 16
"""Hex digits: 64 bits, more than any two of a hundred thousand share."""
_HANDLE = re.compile(rf"[0-9a-f]{{{HANDLE_LENGTH}}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginView:
    """One login as people may see it. Times are Unix seconds.

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
    """See the module.

    Attributes:
        hear: Has this relay end at once what was ended in the store; others do within 5 s.
    """

    base: ServiceBase
    hear: Callable[[], Awaitable[int]]

    async def page(
        self,
        actor: Actor,
        host: str | None = None,
        email: str | None = None,
        *,
        before: str | None = None,
        limit: int = 100,
    ) -> list[LoginView]:
        """Logins that are not over, the most recently used first.

        Args:
            email: Whole and exact, in whatever case.
            before: The last handle of the page before. Behind one that is gone there is nothing: a reader that goes on
                begins anew.
        """
        self.base.authorize(actor, AREA, Access.READ)
        size = page_size(limit)
        with self.base.asking():
            after = None if before is None else await self._of_handle(actor, before)
            if before is not None and after is None:
                return []
            whose = self._whose(actor, host=host, email=None if email is None else email.lower())
            return [_view(row) for row in await self.base.store.sessions(whose, limit=size, after=after)]

    async def get(self, actor: Actor, login_id: str) -> LoginView:
        """One login.

        Raises:
            ManageError: FORBIDDEN, MISSING, AWAY.
        """
        self.base.authorize(actor, AREA, Access.READ)
        with self.base.asking():
            return _view(await self._known(actor, login_id))

    async def revoke(self, actor: Actor, login_id: str) -> None:
        """Ends a login, and closes what it had open: here before this returns, on other relays within 5 s.

        Raises:
            ManageError: FORBIDDEN, MISSING, AWAY.
        """
        base = self.base
        base.authorize(actor, AREA, Access.WRITE)
        with base.asking():
            row = await self._known(actor, login_id)
            ended = await base.store.revoke_sessions(Whose(key=row.key), base.clock())
            await self.hear()
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
        """Ends every login at a host, as `revoke` does one. Returns how many there were.

        Raises:
            ManageError: FORBIDDEN, MISSING for a host that is not theirs, AWAY.
        """
        base = self.base
        base.authorize(actor, AREA, Access.WRITE)
        with base.asking():
            if not actor.is_admin and not await self._is_host_of(actor.owner, host):
                raise missing("host")
            now = base.clock()
            ended = await base.store.revoke_sessions(Whose(host=host, live_at=now), now)
            await self.hear()
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

    async def delete(self, actor: Actor, login_id: str) -> None:
        """The same, as other services call it."""
        await self.revoke(actor, login_id)

    async def _is_host_of(self, owner: str, host: str) -> bool:
        """Whether a host is this owner's now: a name it holds or held last, its domain or its edge's."""
        store = self.base.store
        found = (await store.name(host), await store.domains.find(host=host), await store.edges.find(host=host))
        return any(one is not None and one.owner == owner for one in found)

    def _whose(self, actor: Actor, **which: Any) -> Whose:
        """Those of the logins meant that are not over and that the actor may know of."""
        return Whose(live_at=self.base.clock(), owner=actor.only_owner, **which)

    async def _of_handle(self, actor: Actor, login_id: str) -> SessionHolder | None:
        """The login with this handle; None when there is none, or more than one."""
        if not _HANDLE.fullmatch(login_id):
            return None
        whose = self._whose(actor, handle=bytes.fromhex(login_id))
        found = await self.base.store.sessions(whose, limit=2)
        return found[0] if len(found) == 1 else None

    async def _known(self, actor: Actor, login_id: str) -> SessionHolder:
        found = await self._of_handle(actor, login_id)
        if found is None:
            raise missing(WHAT)
        return found


def handle(row: SessionHolder) -> str:
    """What names a login to people."""
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
