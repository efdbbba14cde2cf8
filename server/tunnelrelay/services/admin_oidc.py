"""Sign-in to the dashboard with the operator's own OpenID provider.

The login is the same as for endpoints, at the dashboard's host: same code, cookie and re-checks. This module finds the
user, by issuer and subject only (anyone can set an e-mail address), and determines the role from the provider's claims.
Both are looked up for every request, so that the loss of a group takes effect after the next re-check.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from tunnelrelay.agents.authtokens import MAX_OWNER_LENGTH, owner_problem
from tunnelrelay.ids import new_id
from tunnelrelay.oidc.login.cookies import CookieJar
from tunnelrelay.oidc.sessions.session import VisitorSession
from tunnelrelay.oidc.sessions.sessions import ProviderAway, Sessions
from tunnelrelay.policy.rules import Claims, Connection, claim_texts, groups_of, verified_email
from tunnelrelay.services.actor import Actor
from tunnelrelay.services.api_keys import actor_of
from tunnelrelay.services.problems import Kind, ManageError
from tunnelrelay.services.service_base import ServiceBase
from tunnelrelay.services.users import ADMIN, MAX_EMAIL, MAX_NAME, MEMBER
from tunnelrelay.store.base import StoreError
from tunnelrelay.store.resources import UserRow

OWNER = "(operator)"
"""The owner of the operator's own connection; no token can have it."""
VIA = "dashboard"
TOUCH_SECONDS = 60.0
TRIES = 3
"""Maximum names to try for a new user: the plain one, then variants of it."""
_NOT_OF_OWNERS = re.compile(r"[^A-Za-z0-9._@+-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """Rules that map the provider's claims to a role.

    Attributes:
        admins: Values of the role claim that make a user administrator.
        members: Values that make a user member.
        owner_claim: Claim that contains a member's owner; "" derives the owner from the member's name.
    """

    admins: frozenset[str]
    members: frozenset[str]
    owner_claim: str = ""

    def role_of(self, claims: Claims) -> str | None:
        """Return the role for these claims; None for a person without one."""
        values = frozenset(groups_of(claims))
        if values & self.admins:
            return ADMIN
        return MEMBER if values & self.members else None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminOidc:
    """Finds the dashboard's user for a login at the operator's OpenID provider.

    Attributes:
        default_owner: Owner of the resources that administrators create.
    """

    base: ServiceBase
    sessions: Sessions
    connection: Connection
    roles: Roles
    default_owner: str

    async def actor_of(self, cookie_values: Sequence[bytes], *, peer: str, request_id: str) -> Actor | None:
        """Return the actor for a request's Cookie fields; None if the visitor is not signed in, or has no role.

        Raises:
            ManageError: AWAY, when store or provider are unavailable.
        """
        address, now = self.base.address, self.base.clock()
        cookie = CookieJar(address.is_secure).session_in(list(cookie_values))
        if cookie is None:
            return None
        try:
            session = await self.sessions.current(cookie, address.dashboard_host, self.connection, now)
        except ProviderAway as error:
            raise ManageError(
                Kind.AWAY, "provider_away", "The OpenID provider does not answer.", "Try again."
            ) from error
        except StoreError as error:
            raise ManageError(
                Kind.AWAY, "store_away", "Who is signed in cannot be read at the moment.", "Try again."
            ) from error
        if session is None:
            return None
        self.sessions.seen(session, now)
        user = await self.user_of(session)
        return None if user is None else actor_of(user, via=VIA, peer=peer, request_id=request_id)

    async def user_of(self, session: VisitorSession) -> UserRow | None:
        """Return the user of a session, created at the first sign-in; None if the person has no role, or the user is
        disabled.
        """
        claims = msgspec.json.decode(session.claims)
        role = self.roles.role_of(claims)
        if role is None:
            return None
        identity = session.identity
        key = user_key(identity.issuer, identity.subject)
        users = self.base.store.users
        with self.base.store_calls():
            user = await users.find(key=key)
            if user is None:
                user = await self._made(identity.issuer, identity.subject, claims, role, key)
            if user is None or user.disabled_at is not None:
                return None
            if user.role != role:
                user = await self._with_role(user, role, claims)
            now = self.base.clock()
            if user is not None and (user.last_seen_at is None or now - user.last_seen_at >= TOUCH_SECONDS):
                await users.touch(user.id, "last_seen_at", now)
        return user

    async def _made(self, issuer: str, subject: str, claims: Claims, role: str, key: str) -> UserRow | None:
        users, now = self.base.store.users, self.base.clock()
        plain = _name_of(claims)
        for attempt in range(TRIES):
            # Names at the provider are not unique: append the key for a second user with a name.
            name = plain if attempt == 0 else f"{plain[: MAX_NAME - 20]} ({key[: 6 * attempt]})"
            user_id = new_id("user", now)
            row = UserRow(
                id=user_id,
                owner=self._owner_of(claims, role, key),
                created_at=now,
                updated_at=now,
                name=name,
                key=key,
                role=role,
                email=verified_email(claims)[:MAX_EMAIL],
                issuer=issuer,
                subject=subject,
            )
            if await users.add(row):
                after = {"name": row.name, "owner": row.owner, "role": role}
                self.base.record(None, "user.created", id=row.id, owner=row.owner, after=after, reason="oidc")
                return row
            if (known := await users.find(key=key)) is not None:
                return known  # another relay, or another tab, was faster
        return None

    async def _with_role(self, user: UserRow, role: str, claims: Claims) -> UserRow | None:
        """Return the user with the role that the provider reports now; None when the row changed meanwhile.

        A former administrator loses the owner of administrators, and with it access to their resources.
        """
        now = self.base.clock()
        is_demoted = role == MEMBER and user.owner == self.default_owner
        owner = self._owner_of(claims, role, user.key) if is_demoted else user.owner
        changed = replace(user, role=role, owner=owner, version=user.version + 1, updated_at=now)
        if not await self.base.store.users.replace(changed):
            again = await self.base.store.users.get(user.id)
            return again if again is not None and again.disabled_at is None and again.role == role else None
        before, after = {"role": user.role, "owner": user.owner}, {"role": role, "owner": owner}
        self.base.record(None, "user.updated", id=user.id, owner=owner, before=before, after=after, reason="oidc")
        return changed

    def _owner_of(self, claims: Claims, role: str, key: str) -> str:
        """Return the owner for a user.

        A name that the user chose at the provider never gives access to another owner's resources.
        """
        if role == ADMIN:
            return self.default_owner
        if self.roles.owner_claim:
            values = claim_texts(claims.get(self.roles.owner_claim))
            if len(values) == 1 and not owner_problem(values[0]):
                return values[0]
        return f"{_owner_like(_name_of(claims))[: MAX_OWNER_LENGTH - 11]}-{key[:10]}"


def user_key(issuer: str, subject: str) -> str:
    """Return the unique key of a person: a digest of issuer and subject."""
    return hashlib.sha256(f"{len(issuer)}:{issuer}{subject}".encode("utf-8", "surrogatepass")).hexdigest()


def _name_of(claims: Claims) -> str:
    for name in ("preferred_username", "name", "email", "sub"):
        text = claims.get(name)
        if isinstance(text, str) and (shown := "".join(c for c in text if c.isprintable()).strip()):
            return shown[:MAX_NAME]
    return "somebody"


def _owner_like(name: str) -> str:
    return _NOT_OF_OWNERS.sub("-", name.partition("@")[0]).strip("-") or "member"
