"""The stored rows of dashboard sign-ins and of the one-time codes that begin them, with lifetimes and limits per user.

The store has only digests of them. `sign_ins.py` checks access.
"""

from dataclasses import dataclass

from tunnelctl.bounds import DeclaredBound
from tunnelrelay.agents import authtokens
from tunnelrelay.ids import new_id
from tunnelrelay.observe.text import printable
from tunnelrelay.services.service_base import ServiceBase
from tunnelrelay.store.resources import SignInRow, UserRow

CODE_SECONDS = 3600.0
"""Seconds for which a one-time sign-in code is valid. People pass it on by terminal, chat or mail and use it at once;
on the next day it must be useless."""
IDLE_SECONDS = 12 * 3600.0
"""Seconds of idleness after which a sign-in ends: a working day with its breaks. A browser left open overnight must
sign in again."""
MAX_SECONDS = 7 * 86_400.0
"""Maximum seconds of a sign-in, even in use: a copied cookie is useful for a week at most."""
TOUCH_SECONDS = 60.0
"""Minimum seconds between two writes of a sign-in's activity."""
MAX_SESSIONS, MAX_CODES = 50, 5
"""Maximum sign-ins and codes of one user; beyond these the oldest end, so that a user cannot fill the store."""
MAX_AGENT = 255
MAX_PEER = 64

BOUNDS = (
    DeclaredBound(
        name="browsers that are signed in to the dashboard",
        limit=MAX_SESSIONS,
        unit="browsers",
        per="user",
        when_full="the one used the longest ago is signed out",
        worst_bytes=0,
    ),
    DeclaredBound(
        name="one-time codes to sign in with",
        limit=MAX_CODES,
        unit="codes",
        per="user",
        when_full="the oldest is good no more",
        worst_bytes=0,
    ),
)
CODE, SESSION, BY_KEY, FIRST = "code", "session", "by_key", "first"
"""Kinds of rows. A sign-in `by_key` was begun with an API key and ends when the key does; `first` is the code that
creates the first administrator, and has no user yet."""
CODES, SESSIONS = (CODE, FIRST), (SESSION, BY_KEY)


@dataclass(frozen=True, slots=True)
class SignInRows:
    """The rows of sign-ins and one-time codes. Every method may raise `StoreError`."""

    base: ServiceBase

    async def add_code(self, kind: str, user_id: str, owner: str) -> str:
        """Create and store a one-time code, and return it."""
        if user_id:
            await self._make_room(user_id, CODES, MAX_CODES)
        code = authtokens.new_secret(authtokens.CODE_PREFIX)
        until = self.base.clock() + CODE_SECONDS
        await self.base.store.sign_ins.add(self._row(kind, user_id, owner, code, until))
        return code

    async def begin(self, user: UserRow, kind: str, until: float, *, peer: str, agent: str) -> str:
        """Sign a user in. Return the cookie's value, which is always new.

        Args:
            until: Unix time at which the sign-in ends, even if it is in use.
        """
        await self._make_room(user.id, SESSIONS, MAX_SESSIONS)
        cookie = authtokens.new_secret("")
        row = self._row(kind, user.id, user.owner, cookie, until, peer=peer, agent=agent)
        await self.base.store.sign_ins.add(row)
        await self.base.store.users.touch(user.id, "last_seen_at", self.base.clock())
        return cookie

    async def of_cookie(self, cookie: str) -> SignInRow | None:
        """Return the live sign-in with this cookie; None when there is none."""
        if not authtokens.is_well_formed(cookie, ""):
            return None
        row = await self.base.store.sign_ins.find(key=authtokens.digest(cookie))
        if row is None or row.kind not in SESSIONS:
            return None
        if self._is_over(row):
            await self.base.store.sign_ins.delete(row.id)
            return None
        return row

    async def of_user(self, user_id: str) -> list[SignInRow]:
        """Return a user's live sign-ins, the newest first."""
        rows = await self.base.store.sign_ins.page(user_id=user_id, limit=2 * (MAX_SESSIONS + MAX_CODES))
        return [row for row in rows if row.kind in SESSIONS and not self._is_over(row)]

    async def touch(self, row: SignInRow) -> None:
        """Record activity, at most every `TOUCH_SECONDS`."""
        now = self.base.clock()
        if now - row.last_seen_at >= TOUCH_SECONDS:
            await self.base.store.sign_ins.touch(row.id, "last_seen_at", now)
            await self.base.store.users.touch(row.user_id, "last_seen_at", now)

    def _is_over(self, row: SignInRow) -> bool:
        now = self.base.clock()
        return row.expires_at <= now or row.last_seen_at + IDLE_SECONDS <= now

    def _row(
        self, kind: str, user_id: str, owner: str, secret: str, until: float, *, peer: str = "", agent: str = ""
    ) -> SignInRow:
        now = self.base.clock()
        return SignInRow(
            id=new_id("sign_in", now),
            owner=owner,
            created_at=now,
            updated_at=now,
            user_id=user_id,
            key=authtokens.digest(secret),
            kind=kind,
            last_seen_at=now,
            expires_at=until,
            peer=peer[:MAX_PEER],
            agent=printable(agent[:MAX_AGENT])[:MAX_AGENT],
        )

    async def _make_room(self, user_id: str, kinds: tuple[str, ...], most: int) -> None:
        """Delete the user's expired rows, then the oldest beyond the limit."""
        store = self.base.store
        rows = [row for row in await store.sign_ins.all(user_id=user_id) if row.kind in kinds]
        over = [row for row in rows if self._is_over(row)]
        live = sorted((row for row in rows if not self._is_over(row)), key=lambda row: row.last_seen_at)
        for row in (*over, *live[: max(0, len(live) + 1 - most)]):
            await store.sign_ins.delete(row.id)
