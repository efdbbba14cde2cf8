"""Sign-ins to the dashboard: creates one-time codes, exchanges a code or an API key for a cookie, and ends sign-ins.

A code works once, within an hour, at any relay of the store. A cookie's value is created at every sign-in and never
taken from a request, so that an attacker cannot plant one. The store is read for every request, so that a sign-out or a
disabled user takes effect at once, on every relay. Sign-ins with the operator's OpenID provider are in `admin_oidc.py`,
rows in `sign_in_rows.py`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tunnelctl.bounds import DeclaredBound
from tunnelrelay.address import PublicAddress
from tunnelrelay.agents import authtokens
from tunnelrelay.agents.accept import LOCAL_OWNER
from tunnelrelay.ids import new_id
from tunnelrelay.policy.limits import KEY_BYTES, Buckets, address_key
from tunnelrelay.services.actor import EVERYTHING, Access, Actor
from tunnelrelay.services.admin_oidc import AdminOidc
from tunnelrelay.services.api_keys import ApiKeys, actor_of
from tunnelrelay.services.problems import Kind, ManageError, missing
from tunnelrelay.services.service_base import ServiceBase
from tunnelrelay.services.sign_in_rows import BY_KEY, CODE, CODES, FIRST, MAX_SECONDS, SESSION, SignInRows
from tunnelrelay.services.users import ADMIN, has_enabled_admin
from tunnelrelay.store.resources import SignInRow, UserRow

AREA = "users"
WHAT = "sign-in"
BURST_ATTEMPTS, ATTEMPTS_PER_SECOND = 10, 1 / 30
"""Maximum attempts to sign in, at once and per second, from one address, and with one code or key, right or wrong.
Guessing 256 bits is impossible; the limit bounds the load on the store, and a leaked code cannot be tried in a thousand
requests at once."""
VIA = "dashboard"
FIRST_NAME = "admin"
FIRST_LEASE, FIRST_SECONDS = b"first administrator", 30.0
"""Lease that allows only one code at a time, on all relays, to create the first administrator: two requests that both
find no administrator would otherwise both create one."""
SIGN_IN_PATH = "/sign-in"


BOUNDS = (
    DeclaredBound(
        name="tries to sign in",
        limit=BURST_ATTEMPTS,
        unit="at once, then slower",
        per="address",
        when_full="429 with Retry-After",
        worst_bytes=KEY_BYTES,
        holds=("SignIns._of_address",),
    ),
    DeclaredBound(
        name="tries at one code or key",
        limit=BURST_ATTEMPTS,
        unit="at once, then slower",
        per="relay",
        when_full="429 with Retry-After",
        worst_bytes=KEY_BYTES,
        holds=("SignIns._of_target",),
    ),
)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new sign-in: its user and cookie.

    Attributes:
        cookie: Value of the new cookie.
    """

    cookie: str = field(repr=False)
    user: UserRow


class SignIns:
    """Lists, begins and ends users' sign-ins to the dashboard.

    Args:
        keys: Checks API keys that are entered instead of a code.
        oidc: The operator's OpenID provider; None without one.
        monotonic: Function that returns monotonic seconds, for limits.
    """

    def __init__(
        self,
        base: ServiceBase,
        keys: ApiKeys,
        *,
        oidc: AdminOidc | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._base = base
        self._rows = SignInRows(base)
        self._keys = keys
        self._monotonic = monotonic
        self._of_address = Buckets(BURST_ATTEMPTS, ATTEMPTS_PER_SECOND)
        self._of_target = Buckets(BURST_ATTEMPTS, ATTEMPTS_PER_SECOND)
        self.oidc = oidc

    # Codes

    async def invite(self, actor: Actor | None, user_id: str) -> str:
        """Create a one-time code for a user: the actor, or for administrators any user.

        Args:
            actor: None for a command at the relay's own terminal.

        Raises:
            ManageError: FORBIDDEN, also for an API key with limited scopes, as a sign-in has no scopes; MISSING;
                CONFLICT for a disabled user; AWAY.
        """
        base = self._base
        if actor is not None and EVERYTHING not in actor.scopes:
            raise ManageError(Kind.FORBIDDEN, "scope_missing", "This key may not sign anybody in.", "Use a key with *.")
        base.count_change(actor)
        if actor is not None and not actor.acts_for(user_id):
            raise missing("user")
        with base.store_calls():
            user = await base.store.users.get(user_id)
            if user is None:
                raise missing("user")
            if user.disabled_at is not None:
                raise ManageError(Kind.CONFLICT, "user_disabled", "This user is disabled.", "Enable them first.")
            code = await self._rows.add_code(CODE, user.id, user.owner)
        base.record(actor, "sign_in.invited", owner=user.owner, user=user.id)
        return code

    async def first_run(self, owner: str) -> str | None:
        """Create a code that creates the first administrator; it replaces an earlier one.

        None when there is an administrator.

        Args:
            owner: Owner of the resources that the administrator creates.

        Raises:
            ManageError: AWAY when the store is unavailable.
        """
        store = self._base.store
        with self._base.store_calls():
            if await has_enabled_admin(store):
                return None
            await store.sign_ins.delete_where(kind=FIRST)
            return await self._rows.add_code(FIRST, "", owner)

    # Signing in and out

    async def redeem(self, text: str, *, peer: str, agent: str = "", request_id: str = "") -> SignedIn:
        """Sign in with a one-time code, or with an API key without limited scopes.

        All failures give the same response and cost the same work.

        Args:
            peer: Address of the client.
            agent: The browser's User-Agent, for the list of sign-ins.

        Raises:
            ManageError: FORBIDDEN, BUSY, AWAY.
        """
        audit = self._base.audit
        text = text.strip()
        self._count(text, peer)
        with self._base.store_calls():
            found = await (self._by_key(text) if text.startswith(authtokens.API_KEY_PREFIX) else self._by_code(text))
            if found is None:
                audit.record("sign_in.refused", peer=peer, request_id=request_id)
                raise _refused()
            user, kind, until = found
            cookie = await self._rows.begin(user, kind, until, peer=peer, agent=agent)
        audit.record("sign_in.ok", reason=kind, owner=user.owner, actor=user.id, peer=peer, request_id=request_id)
        return SignedIn(cookie, user)

    async def actor_of(self, cookie: str, *, peer: str, request_id: str) -> Actor | None:
        """Return the actor of a request's cookie; None without a live sign-in.

        Raises:
            ManageError: AWAY. The sign-in cannot be read; the caller must refuse the request.
        """
        with self._base.store_calls():
            row = await self._rows.of_cookie(cookie)
            user = None if row is None else await self._base.store.users.get(row.user_id)
            if row is None or user is None or user.disabled_at is not None:
                return None
            await self._rows.touch(row)
        return actor_of(user, via=VIA, peer=peer, request_id=request_id)

    async def sign_out(self, cookie: str) -> None:
        """End a sign-in by its own cookie. One that has already ended is not an error.

        Raises:
            ManageError: AWAY when the store is unavailable.
        """
        if not authtokens.is_well_formed(cookie, ""):
            return
        with self._base.store_calls():
            gone = await self._base.store.sign_ins.delete_where(key=authtokens.digest(cookie))
        for row in gone:
            self._base.audit.record("sign_in.ended", reason="signed_out", owner=row.owner, actor=row.user_id)

    # Listing and revoking

    async def page(self, actor: Actor, user_id: str | None = None) -> list[SignInRow]:
        """Return the live sign-ins of a user, the newest first: the actor's, or for administrators any user's."""
        self._base.authorize(actor, AREA, Access.READ)
        target = actor.user_id if user_id is None else user_id
        if not actor.acts_for(target):
            return []
        with self._base.store_calls():
            return await self._rows.of_user(target)

    async def revoke(self, actor: Actor, sign_in_id: str) -> None:
        """End a sign-in, or revoke a code: the actor's, or for administrators any user's.

        Raises:
            ManageError: FORBIDDEN, MISSING, AWAY.
        """
        base = self._base
        if EVERYTHING not in actor.scopes:
            raise ManageError(Kind.FORBIDDEN, "scope_missing", "This key may not sign anybody out.")
        base.count_change(actor)
        with base.store_calls():
            row = await base.store.sign_ins.get(sign_in_id)
            if row is None or not actor.acts_for(row.user_id):
                raise missing(WHAT)
            await base.store.sign_ins.delete(sign_in_id)
        base.record(actor, "sign_in.ended", owner=row.owner, user=row.user_id, reason="revoked")

    # The inside

    def _count(self, text: str, peer: str) -> None:
        """Count one attempt for this address and for the entered text.

        Raises `ManageError` BUSY when either has no attempt left.
        """
        now, address = self._monotonic(), address_key(peer)
        waits = self._of_target.wait(authtokens.digest(text[:256]).hex(), now)
        waits = max(waits, self._of_address.wait(address, now) if address else 0)
        if waits:
            self._base.audit.record("rate.limited", reason="sign_in", peer=peer)
            raise ManageError(
                Kind.BUSY, "too_often", "There were too many attempts to sign in.", f"Try again in {waits} s."
            )

    async def _by_code(self, text: str) -> tuple[UserRow, str, float] | None:
        """Use up a code. Return the user, kind and end of the sign-in; None for an invalid code."""
        store, now = self._base.store, self._base.clock()
        row = await store.sign_ins.find(key=authtokens.digest(text))
        user = await store.users.get("" if row is None else row.user_id)
        if row is None or row.kind not in CODES or row.expires_at <= now:
            return None
        if row.kind == CODE and (user is None or user.disabled_at is not None):
            return None
        # If a code is used twice at once, on any relays, only one request gets the row.
        if await store.sign_ins.delete(row.id, version=row.version) is None:
            return None
        if row.kind == FIRST:
            user = await self._first_admin(row.owner)
        return None if user is None else (user, SESSION, now + MAX_SECONDS)

    async def _by_key(self, text: str) -> tuple[UserRow, str, float] | None:
        """Return the user, kind and end of a sign-in with an API key; only keys without limited scopes are accepted."""
        found = await self._keys.holder(text)
        if found is None or EVERYTHING not in found[0].scopes:
            return None
        row, user = found
        until = self._base.clock() + MAX_SECONDS
        return user, BY_KEY, until if row.expires_at is None else min(until, row.expires_at)

    async def _first_admin(self, owner: str) -> UserRow | None:
        """Create the administrator of the first code; None when there is already one."""
        store, now = self._base.store, self._base.clock()
        if not await store.lease(FIRST_LEASE, now, now + FIRST_SECONDS):
            return None
        try:
            return None if await has_enabled_admin(store) else await self._make_first(owner, now)
        finally:
            await store.give_back(FIRST_LEASE)

    async def _make_first(self, owner: str, now: float) -> UserRow | None:
        store, user_id = self._base.store, new_id("user", now)
        name = FIRST_NAME if await store.users.find(name=FIRST_NAME) is None else user_id
        user = UserRow(id=user_id, owner=owner, created_at=now, updated_at=now, name=name, key=user_id, role=ADMIN)
        if not await store.users.add(user):
            return None
        await store.sign_ins.delete_where(kind=FIRST)
        self._base.record(None, "user.created", id=user.id, owner=owner, after={"name": name, "role": ADMIN})
        return user


def sign_in_link(address: PublicAddress, code: str) -> str:
    """Return the link that uses a code. The code is after `#`, which browsers do not send, so no log contains it."""
    return f"{address.url(address.dashboard_host)}{SIGN_IN_PATH}#code={code}"


def owner_of_admins(*, needs_tokens: bool) -> str:
    """Return the default owner of an administrator's resources: that of agents without tokens, if agents need none."""
    return authtokens.DEFAULT_OWNER if needs_tokens else LOCAL_OWNER


def _refused() -> ManageError:
    return ManageError(
        Kind.FORBIDDEN,
        "sign_in_refused",
        "This code or key is not good: it may be wrong, used or too old.",
        "Ask an administrator for a new link; at the relay's terminal: tunnelrelay admin create --link.",
    )
