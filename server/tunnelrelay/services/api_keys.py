"""What programs show to the API: a key acts for its user, as far as its scopes go.

The store is looked at for every call, for the key and for its user: a key that was deleted or has expired, and a user
who was disabled or has another role now, count at once, on every relay.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tunnelctl.bounds import DeclaredBound
from tunnelrelay.agents import authtokens
from tunnelrelay.ids import new_id
from tunnelrelay.services.actor import EVERYTHING, SCOPES, Access, Actor
from tunnelrelay.services.credentials import expiry_problem
from tunnelrelay.services.problems import Kind, ManageError, invalid, missing
from tunnelrelay.services.service_base import ServiceBase, check_texts, page_size
from tunnelrelay.services.sign_in_rows import BY_KEY
from tunnelrelay.services.users import ADMIN
from tunnelrelay.store.resources import ApiKeyRow, UserRow

AREA = "credentials"
WHAT = "API key"
MAX_KEYS = 200
"""Of one user: more than anybody's programs need, and a bound on what one of them can fill the store with."""
TOUCH_SECONDS = 60.0
"""The last use is written at most this often."""

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


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """See the module."""

    ground: ServiceBase

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
        """Makes a key. Returns it with its text, which is shown this once and kept as a digest only.

        Args:
            scopes: Of `actor.SCOPES`; none that the actor lacks.
            expires_at: Unix time from which on it is no longer good; None for never.
            user_id: Whom it acts for; None for the actor, anybody else only for administrators.

        Raises:
            ManageError: FORBIDDEN, MISSING (no such user), INVALID, CONFLICT when the user has too many, AWAY.
        """
        ground = self.ground
        ground.authorize(actor, AREA, Access.WRITE)
        check_texts(description=description, metadata=metadata)
        now = ground.clock()
        _check(actor, scopes, expires_at, now)
        whose = actor.user_id if user_id is None else user_id
        if whose != actor.user_id and not actor.is_admin:
            raise ManageError(Kind.FORBIDDEN, "admin_only", "Only administrators may make keys for others.")
        with ground.asking():
            user = await ground.store.users.get(whose)
            if user is None:
                raise missing("user")
            if len(await ground.store.api_keys.page(limit=MAX_KEYS, user_id=whose)) >= MAX_KEYS:
                raise ManageError(Kind.CONFLICT, "too_many", f"A user has at most {MAX_KEYS} API keys.", "Delete some.")
            text = authtokens.new_secret(authtokens.API_KEY_PREFIX)
            row = ApiKeyRow(
                id=new_id("api_key", now),
                owner=user.owner,
                created_at=now,
                updated_at=now,
                user_id=whose,
                digest=authtokens.digest(text),
                scopes=tuple(dict.fromkeys(scopes)),
                description=description,
                metadata=metadata,
                expires_at=expires_at,
            )
            await ground.store.api_keys.add(row)
        ground.record(actor, "api_key.created", id=row.id, owner=row.owner, after=said(row))
        return row, text

    async def update(
        self, actor: Actor, key_id: str, *, description: str | None = None, metadata: str | None = None
    ) -> ApiKeyRow:
        """Changes what is given. What a key may do never changes: make another one.

        Raises:
            ManageError: FORBIDDEN, MISSING, INVALID, CONFLICT when another user changed it meanwhile; AWAY.
        """
        ground = self.ground
        ground.authorize(actor, AREA, Access.WRITE)
        check_texts(description=description, metadata=metadata)
        with ground.asking():
            before = await self._theirs(actor, key_id)
            after = replace(
                before,
                description=before.description if description is None else description,
                metadata=before.metadata if metadata is None else metadata,
            )
            after = await ground.written(ground.store.api_keys, before, after, WHAT)
            if after is before:
                return before
        ground.record(actor, "api_key.updated", id=after.id, owner=after.owner, before=said(before), after=said(after))
        return after

    async def delete(self, actor: Actor, key_id: str) -> None:
        """Makes a key worthless, and ends the dashboard sign-ins that were begun by showing one of this user's keys.

        Raises:
            ManageError: FORBIDDEN, MISSING, AWAY.
        """
        ground = self.ground
        ground.authorize(actor, AREA, Access.WRITE)
        with ground.asking():
            row = await self._theirs(actor, key_id)
            await ground.store.api_keys.delete(key_id)
            await ground.store.sign_ins.delete_where(user_id=row.user_id, kind=BY_KEY)
        ground.record(actor, "api_key.deleted", id=row.id, owner=row.owner, before=said(row))

    async def page(
        self, actor: Actor, *, before: str | None = None, limit: int = 100, user_id: str | None = None
    ) -> list[ApiKeyRow]:
        """Keys, the newest first; a member gets his own, whichever user is asked for."""
        ground = self.ground
        ground.authorize(actor, AREA, Access.READ)
        if not actor.is_admin:
            if user_id not in (None, actor.user_id):
                return []
            user_id = actor.user_id
        with ground.asking():
            keys, size = ground.store.api_keys, page_size(limit)
            if user_id is None:
                return await keys.page(before=before, limit=size)
            return await keys.page(before=before, limit=size, user_id=user_id)

    async def get(self, actor: Actor, key_id: str) -> ApiKeyRow:
        """One key.

        Raises:
            ManageError: FORBIDDEN, MISSING, AWAY.
        """
        self.ground.authorize(actor, AREA, Access.READ)
        with self.ground.asking():
            return await self._theirs(actor, key_id)

    async def authenticate(self, text: str, peer: str, request_id: str) -> Actor | None:
        """Who shows this key now; None for one that is unknown, deleted, expired, or whose user is disabled.

        Args:
            peer: Address it came from.

        Raises:
            ManageError: AWAY. It cannot be read; refuse.
        """
        with self.ground.asking():
            found = await self.holder(text)
            if found is None:
                self.ground.audit.record("api_key.refused", peer=peer, request_id=request_id)
                return None
            row, user = found
            await self._touch(row)
        return actor_of(user, via=VIA, peer=peer, request_id=request_id, key=row)

    async def holder(self, text: str) -> tuple[ApiKeyRow, UserRow] | None:
        """A good key and its user. Raises StoreError."""
        store, now = self.ground.store, self.ground.clock()
        if not authtokens.is_well_formed(text, authtokens.API_KEY_PREFIX):
            return None
        row = await store.api_keys.find(digest=authtokens.digest(text))
        user = await store.users.get("" if row is None else row.user_id)
        if row is None or user is None or user.disabled_at is not None:
            return None
        return None if row.expires_at is not None and row.expires_at <= now else (row, user)

    async def _theirs(self, actor: Actor, key_id: str) -> ApiKeyRow:
        """A key acts for one person: others of the same owner have no business with it."""
        row = await self.ground.store.api_keys.get(key_id)
        if row is None or not (actor.is_admin or row.user_id == actor.user_id):
            raise missing(WHAT)
        return row

    async def _touch(self, row: ApiKeyRow) -> None:
        now = self.ground.clock()
        if row.last_used_at is None or now - row.last_used_at >= TOUCH_SECONDS:
            await self.ground.store.api_keys.touch(row.id, "last_used_at", now)


def actor_of(user: UserRow, *, via: str, peer: str, request_id: str, key: ApiKeyRow | None = None) -> Actor:
    """What a user may do now, by their own hand or by that of a program with their key."""
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


def said(row: ApiKeyRow) -> dict[str, object]:
    """What an audit event tells of a key."""
    return {
        "user": row.user_id,
        "scopes": row.scopes,
        "description": row.description,
        "metadata": row.metadata,
        "expires_at": row.expires_at,
    }


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
