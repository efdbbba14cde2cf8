"""Sign-ins to the dashboard: one-time codes, the cookie that a code or an API key is exchanged for, and its end.

A code is good once, for an hour, at whichever relay of the store it is shown first. A cookie's value is made at every
sign-in and never taken from a request, so that nobody can plant one. The store keeps digests only, and is looked at for
every request: who signed out, or was disabled, is out at once and everywhere. Signing in by the operator's OpenID
provider is in `operators_oidc.py`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tunnelrelay import tokens
from tunnelrelay.address import PublicAddress
from tunnelrelay.agents.accept import LOCAL_OWNER
from tunnelrelay.ids import new_id
from tunnelrelay.manage.actor import EVERYTHING, Access, Actor
from tunnelrelay.manage.api_keys import BY_KEY, ApiKeys, actor_of
from tunnelrelay.manage.ground import Ground
from tunnelrelay.manage.operators_oidc import OperatorsOidc
from tunnelrelay.manage.problems import Kind, ManageError, missing
from tunnelrelay.manage.users import ADMIN, is_enabled_admin
from tunnelrelay.observe.text import printable
from tunnelrelay.policy.limits import Buckets, address_key
from tunnelrelay.store.resources import SignInRow, UserRow

AREA = "users"
WHAT = "sign-in"
CODE_SECONDS = 3600.0
"""A code travels by terminal, chat or mail and is used at once; whoever finds it the next day gets nowhere."""
IDLE_SECONDS = 12 * 3600.0
"""A working day with its breaks. A browser left open overnight asks again."""
MAX_SECONDS = 7 * 86_400.0
"""However busy: a cookie that was copied off a machine is worth something for a week at most."""
TOUCH_SECONDS = 60.0
"""Activity is written at most this often."""
MAX_SESSIONS, MAX_CODES = 50, 5
"""Of one user: beyond these the oldest end. Nobody fills the store by signing in, or by asking for codes."""
BURST_ATTEMPTS, ATTEMPTS_PER_SECOND = 10, 1 / 30
"""Of one address, and at one code or key, right or wrong. Nobody guesses 256 bits; it bounds what tries cost the store,
and a code that leaked cannot be raced for by a thousand requests."""
MAX_AGENT = 255
MAX_PEER = 64
VIA = "dashboard"
CODE, SESSION, FIRST = "code", "session", "first"
"""Kinds of rows. `first` is the code that makes the first administrator: it has no user yet."""
FIRST_NAME = "admin"
SIGN_IN_PATH = "/sign-in"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody has just signed in.

    Attributes:
        cookie: The new cookie's value.
    """

    cookie: str = field(repr=False)
    user: UserRow


class SignIns:
    """See the module.

    Args:
        keys: Judges API keys that are shown in the place of a code.
        oidc: The operator's OpenID provider; None without one.
        monotonic: Seconds, for limits.
    """

    def __init__(
        self,
        ground: Ground,
        keys: ApiKeys,
        *,
        oidc: OperatorsOidc | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ground = ground
        self._keys = keys
        self._monotonic = monotonic
        self._of_address = Buckets(BURST_ATTEMPTS, ATTEMPTS_PER_SECOND)
        self._of_target = Buckets(BURST_ATTEMPTS, ATTEMPTS_PER_SECOND)
        self.oidc = oidc

    # Codes

    async def invite(self, actor: Actor | None, user_id: str) -> str:
        """A new one-time code for somebody: their own, or anybody's for an administrator.

        Args:
            actor: None for a command at the relay's own terminal.

        Raises:
            ManageError: FORBIDDEN, also for a key that may not do everything: whoever signs in may; MISSING, CONFLICT
                for somebody who is disabled, AWAY.
        """
        ground = self._ground
        if actor is not None and EVERYTHING not in actor.scopes:
            raise ManageError(Kind.FORBIDDEN, "scope_missing", "This key may not sign anybody in.", "Use a key with *.")
        if actor is not None and not actor.is_admin and actor.user_id != user_id:
            raise missing("user")
        with ground.asking():
            user = await ground.store.users.get(user_id)
            if user is None:
                raise missing("user")
            if user.disabled_at is not None:
                raise ManageError(Kind.CONFLICT, "user_disabled", "This user is disabled.", "Enable them first.")
            await self._make_room(user.id, (CODE,), MAX_CODES)
            code = await self._add_code(CODE, user.id, user.owner)
        ground.record(actor, "sign_in.invited", owner=user.owner, user=user.id)
        return code

    async def first_run(self, owner: str) -> str | None:
        """A code that makes the first administrator, in the place of any earlier one; None when there is one already.

        Args:
            owner: Whose things the administrator sets up.

        Raises:
            ManageError: AWAY.
        """
        store = self._ground.store
        with self._ground.asking():
            if await self._has_admin():
                return None
            await store.sign_ins.delete_where(kind=FIRST)
            return await self._add_code(FIRST, "", owner)

    # Signing in and out

    async def redeem(self, text: str, *, peer: str, agent: str = "", request_id: str = "") -> SignedIn:
        """Signs somebody in who shows a one-time code, or an API key that may do everything.

        Whatever is wrong with what was shown, answer and work are the same.

        Args:
            peer: Address it came from.
            agent: What the browser calls itself, for the list of sign-ins.

        Raises:
            ManageError: FORBIDDEN, BUSY, AWAY.
        """
        ground, now = self._ground, self._ground.clock()
        text = text.strip()
        self._count(text, peer)
        with ground.asking():
            found = await (self._by_key(text) if text.startswith(tokens.API_KEY_PREFIX) else self._by_code(text, now))
            if found is None:
                ground.audit.record("sign_in.refused", peer=peer, request_id=request_id)
                raise _refused()
            user, kind, until = found
            cookie = await self._begin(user, kind, until, peer, agent)
        ground.audit.record(
            "sign_in.ok", reason=kind, owner=user.owner, actor=user.id, peer=peer, request_id=request_id
        )
        return SignedIn(cookie, user)

    async def actor_of(self, cookie: str, *, peer: str, request_id: str) -> Actor | None:
        """Who a request's cookie says is there; None for nobody.

        Raises:
            ManageError: AWAY. Nobody can tell; refuse.
        """
        found = await self._found(cookie)
        if found is None:
            return None
        row, user = found
        now = self._ground.clock()
        if now - row.last_seen_at >= TOUCH_SECONDS:
            with self._ground.asking():
                await self._ground.store.sign_ins.touch(row.id, "last_seen_at", now)
                await self._ground.store.users.touch(user.id, "last_seen_at", now)
        return actor_of(user, via=VIA, peer=peer, request_id=request_id)

    async def sign_out(self, cookie: str) -> None:
        """Ends a sign-in by its own cookie; one that is over already is no error.

        Raises:
            ManageError: AWAY.
        """
        if not tokens.is_well_formed(cookie, ""):
            return
        with self._ground.asking():
            gone = await self._ground.store.sign_ins.delete_where(key=tokens.digest(cookie))
        for row in gone:
            self._ground.audit.record("sign_in.ended", reason="signed_out", owner=row.owner, actor=row.user_id)

    # Looking after them

    async def page(self, actor: Actor, user_id: str | None = None) -> list[SignInRow]:
        """The live sign-ins of somebody, the newest first: one's own, or anybody's for an administrator."""
        self._ground.authorize(actor, AREA, Access.READ)
        whose = actor.user_id if user_id is None else user_id
        if whose != actor.user_id and not actor.is_admin:
            return []
        with self._ground.asking():
            rows = await self._ground.store.sign_ins.page(user_id=whose, limit=2 * MAX_SESSIONS)
        return [row for row in rows if row.kind in (SESSION, BY_KEY) and not self._is_over(row)]

    async def revoke(self, actor: Actor, sign_in_id: str) -> None:
        """Ends a sign-in, or makes a code worthless: one's own, or anybody's for an administrator.

        Raises:
            ManageError: FORBIDDEN, MISSING, AWAY.
        """
        ground = self._ground
        if EVERYTHING not in actor.scopes:
            raise ManageError(Kind.FORBIDDEN, "scope_missing", "This key may not sign anybody out.")
        with ground.asking():
            row = await ground.store.sign_ins.get(sign_in_id)
            if row is None or not (actor.is_admin or row.user_id == actor.user_id):
                raise missing(WHAT)
            await ground.store.sign_ins.delete(sign_in_id)
        ground.record(actor, "sign_in.ended", owner=row.owner, user=row.user_id, reason="revoked")

    # The inside

    def _count(self, text: str, peer: str) -> None:
        """Whether this address, and what it shows, may be tried once more."""
        now, address = self._monotonic(), address_key(peer)
        # Both are counted, whichever says no.
        waits = self._of_target.wait(tokens.digest(text[:256]).hex(), now)
        waits = max(waits, self._of_address.wait(address, now) if address else 0)
        if waits:
            self._ground.audit.record("rate.limited", reason="sign_in", peer=peer)
            raise ManageError(
                Kind.BUSY, "too_often", "There were too many attempts to sign in.", f"Try again in {waits} s."
            )

    async def _by_code(self, text: str, now: float) -> tuple[UserRow, str, float] | None:
        store = self._ground.store
        row = await store.sign_ins.find(key=tokens.digest(text))
        user = await store.users.get("" if row is None else row.user_id)
        if row is None or row.kind not in (CODE, FIRST) or row.expires_at <= now:
            return None
        if row.kind == CODE and (user is None or user.disabled_at is not None):
            return None
        # Of two who show it at once, at whichever relays, one gets the row.
        if await store.sign_ins.delete(row.id, version=row.version) is None:
            return None
        if row.kind == FIRST:
            user = await self._first_admin(row.owner, now)
        return None if user is None else (user, SESSION, now + MAX_SECONDS)

    async def _by_key(self, text: str) -> tuple[UserRow, str, float] | None:
        """A sign-in may do everything its user may: so must the key."""
        found = await self._keys.holder(text)
        if found is None or EVERYTHING not in found[0].scopes:
            return None
        row, user = found
        until = self._ground.clock() + MAX_SECONDS
        return user, BY_KEY, until if row.expires_at is None else min(until, row.expires_at)

    async def _first_admin(self, owner: str, now: float) -> UserRow | None:
        """The administrator that the first code makes; None when there is one meanwhile, or another code was faster."""
        store = self._ground.store
        if await self._has_admin():
            return None
        user_id = new_id("user", now)
        name = FIRST_NAME if await store.users.find(name=FIRST_NAME) is None else user_id
        user = UserRow(id=user_id, owner=owner, created_at=now, updated_at=now, name=name, key=user_id, role=ADMIN)
        if not await store.users.add(user):
            return None
        await store.sign_ins.delete_where(kind=FIRST)
        self._ground.record(None, "user.created", id=user.id, owner=owner, after={"name": name, "role": ADMIN})
        return user

    async def _begin(self, user: UserRow, kind: str, until: float, peer: str, agent: str) -> str:
        now = self._ground.clock()
        await self._make_room(user.id, (SESSION, BY_KEY), MAX_SESSIONS)
        cookie = tokens.new_secret("")
        row = self._row(kind, user.id, user.owner, cookie, until, peer=peer, agent=agent)
        await self._ground.store.sign_ins.add(row)
        await self._ground.store.users.touch(user.id, "last_seen_at", now)
        return cookie

    async def _found(self, cookie: str) -> tuple[SignInRow, UserRow] | None:
        store = self._ground.store
        if not tokens.is_well_formed(cookie, ""):
            return None
        with self._ground.asking():
            row = await store.sign_ins.find(key=tokens.digest(cookie))
            if row is None or row.kind not in (SESSION, BY_KEY):
                return None
            if self._is_over(row):
                await store.sign_ins.delete(row.id)
                return None
            user = await store.users.get(row.user_id)
        return None if user is None or user.disabled_at is not None else (row, user)

    def _is_over(self, row: SignInRow) -> bool:
        now = self._ground.clock()
        return row.expires_at <= now or row.last_seen_at + IDLE_SECONDS <= now

    async def _add_code(self, kind: str, user_id: str, owner: str) -> str:
        code = tokens.new_secret(tokens.CODE_PREFIX)
        await self._ground.store.sign_ins.add(
            self._row(kind, user_id, owner, code, self._ground.clock() + CODE_SECONDS)
        )
        return code

    def _row(
        self, kind: str, user_id: str, owner: str, secret: str, until: float, *, peer: str = "", agent: str = ""
    ) -> SignInRow:
        now = self._ground.clock()
        return SignInRow(
            id=new_id("sign_in", now),
            owner=owner,
            created_at=now,
            updated_at=now,
            user_id=user_id,
            key=tokens.digest(secret),
            kind=kind,
            last_seen_at=now,
            expires_at=until,
            peer=peer[:MAX_PEER],
            agent=printable(agent[:MAX_AGENT])[:MAX_AGENT],
        )

    async def _make_room(self, user_id: str, kinds: tuple[str, ...], most: int) -> None:
        """What is over goes, then the oldest beyond what one user may have."""
        store = self._ground.store
        rows = [row for row in await store.sign_ins.all(user_id=user_id) if row.kind in kinds]
        over = [row for row in rows if self._is_over(row)]
        live = sorted((row for row in rows if not self._is_over(row)), key=lambda row: row.last_seen_at)
        for row in (*over, *live[: max(0, len(live) + 1 - most)]):
            await store.sign_ins.delete(row.id)

    async def _has_admin(self) -> bool:
        admins = await self._ground.store.users.all(role=ADMIN, disabled_at=None)
        return any(is_enabled_admin(admin) for admin in admins)


def sign_in_link(address: PublicAddress, code: str) -> str:
    """Where a code is used. It stands behind `#`: browsers send that to nobody, and no log has it."""
    return f"{address.url(address.dashboard_host)}{SIGN_IN_PATH}#code={code}"


def owner_of_admins(*, needs_tokens: bool) -> str:
    """Whose things an administrator sets up if nothing else is said: those of the agents here that need no token, where
    there are such."""
    return tokens.DEFAULT_OWNER if needs_tokens else LOCAL_OWNER


def _refused() -> ManageError:
    return ManageError(
        Kind.FORBIDDEN,
        "sign_in_refused",
        "This code or key is not good: it may be wrong, used or too old.",
        "Ask an administrator for a new link; at the relay's terminal: tunnelrelay admin create --link.",
    )
