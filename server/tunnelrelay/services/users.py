"""Who may sign in to the dashboard, and as what. Administrators keep the list; a member sees himself in it.

Somebody who is disabled or removed is out at once: every sign-in ends here, and API keys are judged with their user at
each use. The last enabled administrator stays one: a relay nobody can manage is mended only at its terminal.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from tunnelrelay.agents.authtokens import owner_problem
from tunnelrelay.ids import new_id
from tunnelrelay.services.actor import Access, Actor
from tunnelrelay.services.problems import Kind, ManageError, changed_meanwhile, invalid, missing
from tunnelrelay.services.service_base import ServiceBase, page_size
from tunnelrelay.store.base import Store
from tunnelrelay.store.resources import UserRow

ADMIN, MEMBER = "admin", "member"
ROLES = (ADMIN, MEMBER)
MAX_NAME = 100
"""Characters of a user's name, as lists have room for."""
MAX_EMAIL = 254
"""RFC 5321 section 4.5.3.1.3: no deliverable address is longer."""
AREA = "users"


@dataclass(frozen=True, slots=True)
class Users:
    """See the module."""

    ground: ServiceBase
    _turn: asyncio.Lock

    @classmethod
    def on(cls, ground: ServiceBase) -> "Users":
        """The service on this base."""
        return cls(ground, asyncio.Lock())

    async def create(
        self, actor: Actor, name: str, owner: str | None = None, role: str = MEMBER, email: str = ""
    ) -> UserRow:
        """Adds somebody, who signs in by a code (`sign_ins.invite`).

        Args:
            owner: Whose things they see and change; None for the actor's own.

        Raises:
            ManageError: FORBIDDEN, INVALID, CONFLICT when the name is taken, AWAY.
        """
        ground = self.ground
        ground.authorize(actor, AREA, Access.WRITE, admin_only=True)
        _check(name=name, owner=owner, role=role, email=email)
        now = ground.clock()
        user_id = new_id("user", now)
        row = UserRow(
            id=user_id,
            owner=actor.owner if owner is None else owner,
            created_at=now,
            updated_at=now,
            name=name,
            key=user_id,
            role=role,
            email=email,
        )
        with ground.asking():
            if not await ground.store.users.add(row):
                raise _name_taken()
        ground.record(actor, "user.created", id=row.id, owner=row.owner, after=said(row))
        return row

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
        """Changes what is given. Whoever is disabled by it is signed out everywhere before this returns.

        Raises:
            ManageError: FORBIDDEN, MISSING, INVALID, CONFLICT when the name is taken, somebody else changed the user
                meanwhile, or no enabled administrator would be left; AWAY.
        """
        ground = self.ground
        ground.authorize(actor, AREA, Access.WRITE, admin_only=True)
        _check(name=name, owner=owner, role=role, email=email)
        with ground.asking():
            async with self._turn:
                before = await self._known(user_id)
                if role not in (None, before.role) and before.issuer:
                    raise invalid({"role": "the OpenID provider's claim decides it"}, "Change it at the provider.")
                after = self._changed(before, name=name, owner=owner, role=role, email=email, disabled=disabled)
                if after == before:
                    return before
                await self._write(before, after)
                if after.disabled_at is not None:
                    await ground.store.sign_ins.delete_where(user_id=user_id)
        ground.record(actor, "user.updated", id=after.id, owner=after.owner, before=said(before), after=said(after))
        return after

    async def delete(self, actor: Actor, user_id: str) -> None:
        """Removes somebody with their API keys and sign-ins. What their owner owns stays.

        Raises:
            ManageError: FORBIDDEN, MISSING, CONFLICT when no enabled administrator would be left; AWAY.
        """
        ground = self.ground
        ground.authorize(actor, AREA, Access.WRITE, admin_only=True)
        with ground.asking():
            async with self._turn:
                row = await self._known(user_id)
                # Disabled first: whatever of theirs is being used at this moment is refused from here on.
                await self._write(row, self._changed(row, disabled=True))
                await ground.store.sign_ins.delete_where(user_id=user_id)
                await ground.store.api_keys.delete_where(user_id=user_id)
                await ground.store.users.delete(user_id)
        ground.record(actor, "user.deleted", id=row.id, owner=row.owner, before=said(row))

    async def page(
        self, actor: Actor, *, before: str | None = None, limit: int = 100, owner: str | None = None
    ) -> list[UserRow]:
        """Users, the newest first; to a member, himself."""
        ground = self.ground
        ground.authorize(actor, AREA, Access.READ)
        if not actor.is_admin:
            return [] if before is not None else [await self.me(actor)]
        with ground.asking():
            return await ground.store.users.page(owner=owner, before=before, limit=page_size(limit))

    async def get(self, actor: Actor, user_id: str) -> UserRow:
        """One user; for a member, himself or nobody.

        Raises:
            ManageError: FORBIDDEN, MISSING, AWAY.
        """
        ground = self.ground
        ground.authorize(actor, AREA, Access.READ)
        if not actor.is_admin and user_id != actor.user_id:
            raise missing("user")
        with ground.asking():
            return await self._known(user_id)

    async def me(self, actor: Actor) -> UserRow:
        """The actor's own row, whatever a key's scopes are.

        Raises:
            ManageError: MISSING for who is none of the users; AWAY.
        """
        with self.ground.asking():
            return await self._known(actor.user_id)

    # The inside

    async def _known(self, user_id: str) -> UserRow:
        row = await self.ground.store.users.get(user_id)
        if row is None:
            raise missing("user")
        return row

    def _changed(self, row: UserRow, *, disabled: bool | None = None, **texts: str | None) -> UserRow:
        given: dict[str, Any] = {name: text for name, text in texts.items() if text is not None}
        at = row.disabled_at
        if disabled is not None:
            at = (at or self.ground.clock()) if disabled else None
        return replace(row, **given, disabled_at=at)

    async def _write(self, before: UserRow, after: UserRow) -> None:
        """Writes a changed row, and takes it back when no administrator is left: two of them may demote each other at
        two relays at once, and only what is looked at behind the write tells."""
        users = self.ground.store.users
        ceases = is_enabled_admin(before) and not is_enabled_admin(after)
        if ceases and not await has_enabled_admin(self.ground.store, but=before.id):
            raise _last_admin()
        written = replace(after, version=before.version + 1, updated_at=self.ground.clock())
        if not await users.replace(written):
            if after.name != before.name and await users.find(name=after.name) is not None:
                raise _name_taken()
            raise changed_meanwhile("user")
        if ceases and not await has_enabled_admin(self.ground.store):
            await users.replace(replace(before, version=written.version + 1))
            raise _last_admin()


async def has_enabled_admin(store: Store, but: str = "") -> bool:
    """Whether anybody, `but` this one, may manage everything now. Raises StoreError."""
    return any(admin.id != but for admin in await store.users.all(role=ADMIN, disabled_at=None))


def is_enabled_admin(row: UserRow) -> bool:
    """Whether this one may manage everything now."""
    return row.role == ADMIN and row.disabled_at is None


def said(row: UserRow) -> dict[str, object]:
    """What an audit event tells of a user."""
    return {
        "name": row.name,
        "owner": row.owner,
        "role": row.role,
        "email": row.email,
        "disabled": row.disabled_at is not None,
    }


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


def _name_taken() -> ManageError:
    return ManageError(Kind.CONFLICT, "name_taken", "There is a user of this name.", "Choose another name.")


def _last_admin() -> ManageError:
    return ManageError(
        Kind.CONFLICT,
        "last_admin",
        "This is the last administrator who can sign in.",
        "Make another user an administrator first.",
    )
