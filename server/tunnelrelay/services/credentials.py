"""Agents' credentials: the tokens that `tunnel` connects with, each its owner's, with an ACL and an expiry if wanted.

A token that is revoked, or whose time is over, ends the links it had opened: at once on this relay, within 5 s on
others (`agents.revoked`).
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from tunnelctl.bounds import DeclaredBound
from tunnelrelay.agents import authtokens
from tunnelrelay.agents.token_acl import acl_problem
from tunnelrelay.model import Token
from tunnelrelay.services.actor import Access, Actor
from tunnelrelay.services.problems import Kind, ManageError, invalid, missing
from tunnelrelay.services.service_base import ServiceBase, check_texts, page_size

AREA = "credentials"
WHAT = "credential"
MAX_TOKENS = 1000
"""Of one owner: more than anybody's agents need, and a bound on what a member can fill the store with."""
MAX_RULES = 100
"""Of one ACL. Every bind is held against all of them."""

BOUNDS = (
    DeclaredBound(
        name="authtokens that are good",
        limit=MAX_TOKENS,
        unit="tokens",
        per="owner",
        when_full="409 `too_many`; administrators may go on",
        worst_bytes=0,
    ),
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """See the module.

    Attributes:
        revoke_here: Ends the links of a token on this relay, and says how many there were.
        reread_here: Has this relay hear at once what was changed about tokens.
    """

    ground: ServiceBase
    revoke_here: Callable[[str], Awaitable[int]]
    reread_here: Callable[[], Awaitable[None]]

    async def create(
        self,
        actor: Actor,
        *,
        description: str = "",
        metadata: str = "",
        acl: Sequence[str] = (),
        expires_at: float | None = None,
        owner: str | None = None,
    ) -> tuple[Token, str]:
        """Makes a token. Returns it with its text, which is shown this once and kept as a digest only.

        Args:
            acl: What it may bind; empty for everything.
            expires_at: Unix time from which on it is no longer good; None for never.
            owner: Whose agents connect with it; None for the actor's own, anybody else only for administrators.

        Raises:
            ManageError: FORBIDDEN, INVALID, CONFLICT when a member's owner has too many, AWAY.
        """
        ground = self.ground
        ground.authorize(actor, AREA, Access.WRITE)
        whose = ground.owner_for(actor, owner)
        check_texts(description=description, metadata=metadata)
        now = ground.clock()
        _check(acl, expires_at, now)
        text, token = authtokens.mint(
            whose,
            now,
            description=description,
            metadata=metadata,
            acl=tuple(acl),
            expires_at=expires_at,
            user_id=actor.user_id,
        )
        with ground.asking():
            if (
                not actor.is_admin
                and len(await ground.store.token_page(owner=whose, before=None, limit=MAX_TOKENS)) >= MAX_TOKENS
            ):
                raise ManageError(
                    Kind.CONFLICT, "too_many", f"An owner has at most {MAX_TOKENS} tokens.", "Revoke some."
                )
            await ground.store.add_token(token, authtokens.digest(text))
        ground.record(actor, "token.created", owner=whose, id=token.id, after=said(token))
        return token, text

    async def update(
        self,
        actor: Actor,
        token_id: str,
        *,
        description: str | None = None,
        metadata: str | None = None,
        acl: Sequence[str] | None = None,
        expires_at: float | None = None,
        never_expires: bool = False,
    ) -> Token:
        """Changes what is given. With another ACL its links are opened anew, so that it holds for what they serve.

        Args:
            never_expires: Takes the expiry away.

        Raises:
            ManageError: FORBIDDEN, MISSING, INVALID, AWAY.
        """
        ground = self.ground
        ground.authorize(actor, AREA, Access.WRITE)
        check_texts(description=description, metadata=metadata)
        with ground.asking():
            before = await self._good(actor, token_id)
            _check(acl or (), expires_at, ground.clock())
            after = replace(
                before,
                description=before.description if description is None else description,
                metadata=before.metadata if metadata is None else metadata,
                acl=before.acl if acl is None else tuple(acl),
                expires_at=None if never_expires else before.expires_at if expires_at is None else expires_at,
            )
            if after == before:
                return before
            if not await ground.store.change_token(after):
                raise missing(WHAT)
            await self.reread_here()
        ground.record(actor, "token.updated", owner=after.owner, id=after.id, before=said(before), after=said(after))
        return after

    async def revoke(self, actor: Actor, token_id: str) -> int:
        """Makes a token worthless. Returns how many links of it ended on this relay.

        Raises:
            ManageError: FORBIDDEN, MISSING, AWAY.
        """
        ground = self.ground
        ground.authorize(actor, AREA, Access.WRITE)
        with ground.asking():
            token = await self._good(actor, token_id)
            await ground.store.revoke_token(token_id, ground.clock())
        links = await self.revoke_here(token_id)
        ground.record(actor, "token.revoked", owner=token.owner, id=token.id, before=said(token), links=str(links))
        return links

    async def delete(self, actor: Actor, token_id: str) -> None:
        """The same, as other services call it."""
        await self.revoke(actor, token_id)

    async def page(
        self, actor: Actor, *, before: str | None = None, limit: int = 100, owner: str | None = None
    ) -> list[Token]:
        """Tokens that are not revoked, the newest first; those whose time is over are among them.

        Args:
            owner: Only this one's. A member who asks for another's gets none.
        """
        ground = self.ground
        ground.authorize(actor, AREA, Access.READ)
        if owner is not None and not actor.owns(owner):
            return []
        with ground.asking():
            return await ground.store.token_page(owner=actor.owner_filter(owner), before=before, limit=page_size(limit))

    async def get(self, actor: Actor, token_id: str) -> Token:
        """One token that is not revoked.

        Raises:
            ManageError: FORBIDDEN, MISSING, AWAY.
        """
        self.ground.authorize(actor, AREA, Access.READ)
        with self.ground.asking():
            return await self._good(actor, token_id)

    async def _good(self, actor: Actor, token_id: str) -> Token:
        token = self.ground.visible(actor, await self.ground.store.token(token_id), WHAT)
        if token.revoked_at is not None:
            raise missing(WHAT)
        return token


def said(token: Token) -> dict[str, object]:
    """What an audit event tells of a token."""
    return {
        "description": token.description,
        "metadata": token.metadata,
        "acl": token.acl,
        "expires_at": token.expires_at,
    }


def _check(acl: Sequence[str], expires_at: float | None, now: float) -> None:
    fields = {}
    problems = [problem for rule in acl[:MAX_RULES] if (problem := acl_problem(rule))]
    if len(acl) > MAX_RULES:
        problems.append(f"at most {MAX_RULES} rules")
    if problems:
        fields["acl"] = "; ".join(problems[:3])
    if problem := expiry_problem(expires_at, now):
        fields["expires_at"] = problem
    if fields:
        raise invalid(fields)


def expiry_problem(expires_at: float | None, now: float) -> str:
    """Why nothing can expire then, or ""."""
    if expires_at is None or now < expires_at <= now + MAX_EXPIRY:
        return ""
    return "this time is past already" if expires_at <= now else "more than 100 years from now"


MAX_EXPIRY = 100 * 365.25 * 86_400.0
"""Seconds. Farther than this is a slip: milliseconds, most likely."""
