"""Visitors' logins: who is signed in at which endpoint, and ending that.

A login is shown under a handle, the beginning of its key's digest, which opens nothing. A member sees those at hosts
that are his owner's: a name it holds, a domain or an edge.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from tunnelrelay.manage.actor import Access, Actor
from tunnelrelay.manage.ground import Ground, page_size
from tunnelrelay.manage.problems import missing
from tunnelrelay.store.base import SignedIn, Whose

AREA = "sessions"
WHAT = "login"
HANDLE_LENGTH = 16
"""Hex digits: 64 bits, more than any two of a hundred thousand share."""
MAX_LOOKED_AT = 100_000
"""Sessions looked at for one question, without what is sealed in them: about 1 kB each."""
MAX_HOSTS = 1000
"""Hosts named in one question to the store: whoever has reserved a thousand names asks it once, not a thousand times,
each time a page is made."""


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

    ground: Ground
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
            before: The last handle of the page before. Behind one that is gone there is nothing: whoever reads on
                begins anew.
        """
        self.ground.authorize(actor, AREA, Access.READ)
        size = page_size(limit)
        with self.ground.asking():
            found = await self._found(actor, host, email, MAX_LOOKED_AT if before is not None else size)
        handles = [handle(row) for row in found]
        if before is not None and before not in handles:
            return []
        start = 0 if before is None else handles.index(before) + 1
        return [_view(row) for row in found[start : start + size]]

    async def get(self, actor: Actor, login_id: str) -> LoginView:
        """One login.

        Raises:
            ManageError: FORBIDDEN, MISSING, AWAY.
        """
        self.ground.authorize(actor, AREA, Access.READ)
        with self.ground.asking():
            return _view(await self._known(actor, login_id))

    async def revoke(self, actor: Actor, login_id: str) -> None:
        """Ends a login, and closes what it had open: here before this returns, on other relays within 5 s.

        Raises:
            ManageError: FORBIDDEN, MISSING, AWAY.
        """
        ground = self.ground
        ground.authorize(actor, AREA, Access.WRITE)
        with ground.asking():
            row = await self._known(actor, login_id)
            ended = await ground.store.revoke_sessions(Whose(key=row.key), ground.clock())
            await self.hear()
        for each in ended:
            ground.audit.record(
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
        ground = self.ground
        ground.authorize(actor, AREA, Access.WRITE)
        with ground.asking():
            if not actor.is_admin and host not in await self.hosts_of(actor.owner):
                raise missing("host")
            now = ground.clock()
            ended = await ground.store.revoke_sessions(Whose(host=host, live_at=now), now)
            await self.hear()
        if ended:
            ground.audit.record(
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

    async def hosts_of(self, owner: str) -> set[str]:
        """Every host that is this owner's now: names it holds or held last, its domains, its edges."""
        store = self.ground.store
        hosts = {name.host for name in await store.all_names(owner)}
        hosts |= {row.host for row in await store.domains.all(owner=owner)}
        return hosts | {row.host for row in await store.edges.all(owner=owner) if row.host is not None}

    async def _found(
        self, actor: Actor, host: str | None, email: str | None, limit: int = MAX_LOOKED_AT
    ) -> list[SignedIn]:
        live = Whose(host=host, email=None if email is None else email.lower(), live_at=self.ground.clock())
        if actor.is_admin:
            return await self.ground.store.sessions(live, limit=limit)
        theirs = await self.hosts_of(actor.owner)
        meant = sorted(theirs if host is None else theirs & {host})
        found: list[SignedIn] = []
        for start in range(0, len(meant), MAX_HOSTS):
            some = replace(live, host=None, hosts=frozenset(meant[start : start + MAX_HOSTS]))
            found += await self.ground.store.sessions(some, limit=limit)
        return sorted(found, key=lambda row: -row.last_seen)[:limit]

    async def _known(self, actor: Actor, login_id: str) -> SignedIn:
        found = [row for row in await self._found(actor, None, None) if handle(row) == login_id]
        if len(found) != 1:
            raise missing(WHAT)
        return found[0]


def handle(row: SignedIn) -> str:
    """What names a login to people."""
    return row.key.hex()[:HANDLE_LENGTH]


def _view(row: SignedIn) -> LoginView:
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
