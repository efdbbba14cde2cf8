"""API keys: a key acts for its user, within its scopes.

Key and user are read from the store for every call, so that the deletion or expiry of a key, a disabled user and a
changed role take effect at once, on every relay.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tunnelctl.bounds import DeclaredBound
from tunnelrelay.agents import authtokens
from tunnelrelay.services.actor import EVERYTHING, SCOPES, Access, Actor
from tunnelrelay.services.problems import Kind, ManageError, invalid, missing
from tunnelrelay.services.resource import Quota, Resource, StoredRows, Terms, as_it_is, without_none
from tunnelrelay.services.service_base import ServiceBase, expiry_problem
from tunnelrelay.services.sign_in_rows import BY_KEY
from tunnelrelay.services.users import ADMIN
from tunnelrelay.store.resources import ApiKeyRow, Named, UserRow

MAX_KEYS = 200
"""Maximum keys of one user: more than the user's programs need, to limit how much of the store one user can fill."""
TOUCH_SECONDS = 60.0
"""Minimum seconds between two writes of the time of last use."""

BOUNDS = (
    DeclaredBound(
        name="API keys",
        limit=MAX_KEYS,
        unit="keys",
        per="user",
        when_full="409 `too_many`",
        worst_bytes=0,
    ),
)
VIA = "api"


class ApiKeys(Resource[ApiKeyRow, ApiKeyRow]):
    """Lists, creates, changes, checks and deletes API keys.

    A key acts for one user: other members of the same owner do not see it.
    """

    terms = Terms(
        area="credentials",
        noun="API key",
        kind="api_key",
        created="api_key.created",
        updated="api_key.updated",
        deleted="api_key.deleted",
    )
    audited = ("scopes", "description", "metadata", "expires_at")

    def __init__(self, base: ServiceBase) -> None:
        self._stored = _Keys(base)
        super().__init__(base, self._stored, as_it_is)

    async def create(
        self,
        actor: Actor,
        *,
        description: str = "",
        metadata: str = "",
        scopes: Sequence[str] = (EVERYTHING,),
        expires_at: float | None = None,
        user_id: str | None = None,
    ) -> tuple[ApiKeyRow, str]:
        """Create a key. Return it with its text, which is shown only now and stored as a digest.

        Args:
            scopes: Scopes from `actor.SCOPES`, only those that the actor has.
            expires_at: Unix time at which the key expires; None for never.
            user_id: User that the key acts for; None for the actor. Only administrators may give another user.

        Raises:
            ManageError: FORBIDDEN, MISSING (no such user), INVALID, CONFLICT when the user has too many keys, AWAY.
        """
        self._begin(actor, description=description, metadata=metadata)
        _check(actor, scopes, expires_at, self.base.clock())
        target = actor.user_id if user_id is None else user_id
        if not actor.acts_for(target):
            raise ManageError(Kind.FORBIDDEN, "admin_only", "Only administrators may make keys for others.")
        with self.base.store_calls():
            user = await self.base.store.users.get(target)
        if user is None:
            raise missing("user")
        text = authtokens.new_secret(authtokens.API_KEY_PREFIX)
        row = ApiKeyRow(
            **self._stamp(user.owner),
            user_id=target,
            digest=authtokens.digest(text),
            scopes=tuple(dict.fromkeys(scopes)),
            expires_at=expires_at,
            description=description,
            metadata=metadata,
        )
        return await self._add(actor, row, self._stored.add), text

    async def update(
        self, actor: Actor, key_id: str, *, description: str | None = None, metadata: str | None = None
    ) -> ApiKeyRow:
        """Change the given values. The scopes of a key cannot be changed; a new key is needed.

        Raises:
            ManageError: FORBIDDEN, MISSING, INVALID, CONFLICT when another user changed it meanwhile; AWAY.
        """
        self._begin_change(actor, description=description, metadata=metadata)
        texts = without_none(description=description, metadata=metadata)
        return await self._change(actor, key_id, lambda row: replace(row, **texts))

    async def authenticate(self, text: str, peer: str, request_id: str) -> Actor | None:
        """Return the actor of a key; None for a key that is unknown, deleted or expired, or whose user is disabled.

        Args:
            peer: Address of the client.

        Raises:
            ManageError: AWAY. The key cannot be read; the caller must refuse the request.
        """
        with self.base.store_calls():
            found = await self.holder(text)
            if found is None:
                self.base.audit.record("api_key.refused", peer=peer, request_id=request_id)
                return None
            row, user = found
            await self._touch(row)
        return actor_of(user, via=VIA, peer=peer, request_id=request_id, key=row)

    async def holder(self, text: str) -> tuple[ApiKeyRow, UserRow] | None:
        """Return a valid key and its user; None for an invalid key. Raises StoreError."""
        store, now = self.base.store, self.base.clock()
        if not authtokens.is_well_formed(text, authtokens.API_KEY_PREFIX):
            return None
        row = await store.api_keys.find(digest=authtokens.digest(text))
        user = await store.users.get("" if row is None else row.user_id)
        if row is None or user is None or user.disabled_at is not None:
            return None
        return None if row.expires_at is not None and row.expires_at <= now else (row, user)

    async def _touch(self, row: ApiKeyRow) -> None:
        now = self.base.clock()
        if row.last_used_at is None or now - row.last_used_at >= TOUCH_SECONDS:
            await self.base.store.api_keys.touch(row.id, "last_used_at", now)

    def audit_fields(self, row: ApiKeyRow) -> Mapping[str, object]:
        return {"user": row.user_id, **super().audit_fields(row)}

    async def _check_needs(self, before: ApiKeyRow | None, after: ApiKeyRow) -> None:
        if before is None and await self.base.store.users.get(after.user_id) is None:
            raise missing("user")

    def _quota(self) -> Quota:
        return Quota(limit=MAX_KEYS, holder="A user", things="API keys", hint="Delete some.")

    async def _count(self, row: ApiKeyRow, limit: int) -> int:
        return len(await self.rows.page(owner=None, before=None, limit=limit, user_id=row.user_id))

    def _may_see(self, actor: Actor, row: ApiKeyRow) -> bool:
        return actor.acts_for(row.user_id)

    async def _page(self, actor: Actor, before: str | None, limit: int, owner: str | None) -> list[ApiKeyRow]:
        only = {} if actor.only_user is None else {"user_id": actor.only_user}
        return await self.rows.page(owner=owner, before=before, limit=limit, **only)


class _Keys(StoredRows[ApiKeyRow]):
    """The rows of API keys. Deleting one also ends its user's dashboard sign-ins that were begun with an API key."""

    def __init__(self, base: ServiceBase) -> None:
        super().__init__(base.store.api_keys, base.clock, lambda row: (Named("users", "id", row.user_id),))
        self._store = base.store

    async def drop(self, row: ApiKeyRow) -> bool:
        is_there = await super().drop(row)
        await self._store.sign_ins.delete_where(user_id=row.user_id, kind=BY_KEY)
        return is_there


def actor_of(user: UserRow, *, via: str, peer: str, request_id: str, key: ApiKeyRow | None = None) -> Actor:
    """Return the actor for a user, or for a program with one of the user's keys."""
    scopes = frozenset({EVERYTHING}) if key is None else frozenset(key.scopes)
    return Actor(
        user_id=user.id,
        name=user.name,
        owner=user.owner,
        is_admin=user.role == ADMIN,
        via=via,
        scopes=scopes,
        api_key_id="" if key is None else key.id,
        peer=peer,
        request_id=request_id,
    )


def _check(actor: Actor, scopes: Sequence[str], expires_at: float | None, now: float) -> None:
    fields = {}
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if not scopes or unknown:
        fields["scopes"] = f"one or more of {', '.join(SCOPES)}"
    elif beyond := [scope for scope in scopes if not _has(actor, scope)]:
        fields["scopes"] = f"the key that asks for it lacks {', '.join(beyond)}"
    if problem := expiry_problem(expires_at, now):
        fields["expires_at"] = problem
    if fields:
        raise invalid(fields)


def _has(actor: Actor, scope: str) -> bool:
    if scope == EVERYTHING:
        return EVERYTHING in actor.scopes
    area, _, access = scope.partition(":")
    return actor.may(area, Access(access))
