"""The users of the dashboard and their roles. Administrators manage the list; a member sees only the member's own
entry.

A disabled or removed user loses access at once: every sign-in ends, and API keys are checked together with their user
at each use. The last enabled administrator cannot be removed, as the relay could then only be managed at its terminal.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from tunnelrelay.agents.authtokens import owner_problem
from tunnelrelay.services.actor import Actor
from tunnelrelay.services.problems import Kind, ManageError, changed_meanwhile, invalid
from tunnelrelay.services.resource import Resource, StoredRows, Terms, as_it_is, without_none
from tunnelrelay.services.service_base import ServiceBase
from tunnelrelay.store.base import ResourceStore
from tunnelrelay.store.resources import Named, UserRow

ADMIN, MEMBER = "admin", "member"
ROLES = (ADMIN, MEMBER)
MAX_NAME = 100
"""Maximum characters of a user's name, so that it fits into lists."""
MAX_EMAIL = 254
"""Maximum characters of an e-mail address; longer ones cannot be delivered to (RFC 5321 section 4.5.3.1.3)."""


class Users(Resource[UserRow, UserRow]):
    """Lists, creates, changes and deletes users of the dashboard, for administrators."""

    terms = Terms(
        area="users",
        noun="user",
        kind="user",
        created="user.created",
        updated="user.updated",
        deleted="user.deleted",
        admin_only=True,
    )
    audited = ("name", "owner", "role", "email")

    def __init__(self, base: ServiceBase) -> None:
        super().__init__(base, _Users(base), as_it_is)
        self._turn = asyncio.Lock()

    async def create(
        self, actor: Actor, name: str, owner: str | None = None, role: str = MEMBER, email: str = ""
    ) -> UserRow:
        """Add a user, who signs in with a one-time code (`sign_ins.invite`).

        Args:
            owner: Owner whose resources the user may see and change; None for the actor's own.

        Raises:
            ManageError: FORBIDDEN, INVALID, CONFLICT when the name is taken, AWAY.
        """
        self._authorize(actor)
        _check(name=name, owner=owner, role=role, email=email)
        new = self._stamp(actor.owner if owner is None else owner)
        row = UserRow(**new, key=new["id"], name=name, role=role, email=email)
        return await self._add(actor, row, self.base.store.users.add)

    async def update(
        self,
        actor: Actor,
        user_id: str,
        *,
        name: str | None = None,
        owner: str | None = None,
        role: str | None = None,
        email: str | None = None,
        disabled: bool | None = None,
    ) -> UserRow:
        """Change the given values. A user who is disabled by this is signed out everywhere before it returns.

        Raises:
            ManageError: FORBIDDEN, MISSING, INVALID, CONFLICT when the name is taken, another user changed it
                meanwhile, or no enabled administrator would be left; AWAY.
        """
        self._authorize(actor)
        _check(name=name, owner=owner, role=role, email=email)

        def change(row: UserRow) -> UserRow:
            if role not in (None, row.role) and row.issuer:
                raise invalid({"role": "the OpenID provider's claim decides it"}, "Change it at the provider.")
            changed = replace(row, **without_none(name=name, owner=owner, role=role, email=email))
            if disabled is None:
                return changed
            return replace(changed, disabled_at=(row.disabled_at or self.base.clock()) if disabled else None)

        async with self._turn:
            return await self._change(actor, user_id, change)

    async def delete(self, actor: Actor, user_id: str) -> None:
        """Remove a user with the user's API keys and sign-ins. The resources of the user's owner stay.

        Raises:
            ManageError: FORBIDDEN, MISSING, CONFLICT when no enabled administrator would be left; AWAY.
        """
        async with self._turn:
            await super().delete(actor, user_id)

    async def me(self, actor: Actor) -> UserRow:
        """Return the actor's own row, whatever scopes a key has.

        Raises:
            ManageError: MISSING for an actor who is not a user; AWAY.
        """
        return await self._row(actor, actor.user_id)

    def audit_fields(self, row: UserRow) -> Mapping[str, object]:
        return {**super().audit_fields(row), "disabled": row.disabled_at is not None}

    def _may_see(self, actor: Actor, row: UserRow) -> bool:
        return actor.acts_for(row.id)

    async def _page(self, actor: Actor, before: str | None, limit: int, owner: str | None) -> list[UserRow]:
        if actor.only_user is not None:
            return [] if before is not None else [await self.me(actor)]
        return await self.rows.page(owner=owner, before=before, limit=limit)

    async def _is_taken(self, row: UserRow) -> bool:
        other = await self.base.store.users.find(name=row.name)
        return other is not None and other.id != row.id

    def _taken(self, row: UserRow) -> ManageError:
        return ManageError(Kind.CONFLICT, "name_taken", "There is a user of this name.", "Choose another name.")


class _Users(StoredRows[UserRow]):
    """The rows of users: one enabled administrator must stay; disabled and removed users are signed out everywhere."""

    def __init__(self, base: ServiceBase) -> None:
        super().__init__(base.store.users, base.clock)
        self._store = base.store

    async def write(self, before: UserRow, after: UserRow) -> UserRow | None:
        """Write a changed row, and undo the change when no enabled administrator is left.

        Two administrators may demote each other on two relays at once, so the check must come after the write."""
        ceases = is_enabled_admin(before) and not is_enabled_admin(after)
        if ceases and not await has_enabled_admin(self._store, but=before.id):
            raise _last_admin()
        written = await super().write(before, after)
        if written is None:
            return None
        if ceases and not await has_enabled_admin(self._store):
            await self.collection.replace(replace(before, version=written.version + 1))
            raise _last_admin()
        if written.disabled_at is not None:
            await self._store.sign_ins.delete_where(user_id=written.id)
        return written

    async def drop(self, row: UserRow) -> bool:
        # Disable first, so that the user's requests in progress are refused from now on.
        if await self.write(row, replace(row, disabled_at=row.disabled_at or self.clock())) is None:
            raise changed_meanwhile("user")
        along = [Named(kind, "user_id", row.id) for kind in ("api_keys", "sign_ins")]
        return await self.collection.delete(row.id, along=along) is not None


async def has_enabled_admin(store: ResourceStore, but: str = "") -> bool:
    """Return whether there is an enabled administrator other than `but`. Raises StoreError."""
    return any(admin.id != but for admin in await store.users.all(role=ADMIN, disabled_at=None))


def is_enabled_admin(row: UserRow) -> bool:
    """Return whether this user is an administrator and enabled."""
    return row.role == ADMIN and row.disabled_at is None


def _check(*, name: str | None, owner: str | None, role: str | None, email: str | None) -> None:
    fields = {}
    if name is not None and not (0 < len(name) <= MAX_NAME and name.isprintable() and name.strip() == name):
        fields["name"] = f"1 to {MAX_NAME} printable characters without spaces around them"
    if owner is not None and (problem := owner_problem(owner)):
        fields["owner"] = problem
    if role is not None and role not in ROLES:
        fields["role"] = f"one of {', '.join(ROLES)}"
    if email and not (len(email) <= MAX_EMAIL and email.isprintable() and " " not in email and "@" in email[1:-1]):
        fields["email"] = "not an e-mail address"
    if fields:
        raise invalid(fields)


def _last_admin() -> ManageError:
    return ManageError(
        Kind.CONFLICT,
        "last_admin",
        "This is the last administrator who can sign in.",
        "Make another user an administrator first.",
    )
