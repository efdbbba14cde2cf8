"""Agents' authtokens: each belongs to an owner and may have an ACL and an expiry.

Links with a revoked or expired token end at once on this relay, and within 5 s on others (`agents.token_revocation`).
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from tunnelctl.bounds import DeclaredBound
from tunnelrelay.agents import authtokens
from tunnelrelay.agents.token_acl import acl_problems
from tunnelrelay.model import Token
from tunnelrelay.services.actor import Actor
from tunnelrelay.services.problems import invalid, missing
from tunnelrelay.services.resource import Quota, Resource, Terms, as_it_is, without_none
from tunnelrelay.services.service_base import ServiceBase, expiry_problem

MAX_TOKENS = 1000
"""Maximum tokens of one owner: more than its agents need, to limit how much of the store a member can fill."""

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


class Credentials(Resource[Token, Token]):
    """Lists, creates, changes and revokes agents' authtokens, for the API and the dashboard.

    Args:
        revoke_here: Ends the links with a token on this relay, and returns how many there were.
        reread_here: Makes this relay read changed tokens at once.
    """

    terms = Terms(
        area="credentials",
        noun="credential",
        kind="token",
        created="token.created",
        updated="token.updated",
        deleted="token.revoked",
    )
    audited = ("description", "metadata", "acl", "expires_at")

    def __init__(
        self,
        base: ServiceBase,
        revoke_here: Callable[[str], Awaitable[int]],
        reread_here: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(base, _GoodTokens(base, reread_here), as_it_is)
        self._revoke_here = revoke_here

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
        """Create a token. Return it with its text, which is shown only now and stored as a digest.

        Args:
            acl: Rules about the names that agents may serve with it; empty for all.
            expires_at: Unix time at which the token expires; None for never.
            owner: Owner whose agents connect with the token; None for the actor's own. Only administrators may give
                another one.

        Raises:
            ManageError: FORBIDDEN, INVALID, CONFLICT when a member's owner has too many tokens, AWAY.
        """
        new_owner = self._begin(actor, owner=owner, description=description, metadata=metadata)
        now = self.base.clock()
        _check(acl, expires_at, now)
        text, token = authtokens.mint(
            new_owner,
            now,
            description=description,
            metadata=metadata,
            acl=tuple(acl),
            expires_at=expires_at,
            user_id=actor.user_id,
        )

        async def add(token: Token) -> bool:
            await self.base.store.add_token(token, authtokens.digest(text))
            return True

        return await self._add(actor, token, add), text

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
        """Change the given values. A new ACL closes the token's links, so that agents bind again under it.

        Args:
            never_expires: Remove the expiry.

        Raises:
            ManageError: FORBIDDEN, MISSING, INVALID, AWAY.
        """
        self._begin_change(actor, description=description, metadata=metadata)

        def change(token: Token) -> Token:
            _check(acl or (), expires_at, self.base.clock())
            rules = None if acl is None else tuple(acl)
            texts = without_none(description=description, metadata=metadata, acl=rules, expires_at=expires_at)
            return replace(token, **texts | ({"expires_at": None} if never_expires else {}))

        return await self._change(actor, token_id, change)

    async def delete(self, actor: Actor, token_id: str) -> None:
        """Revoke a token. Its links on this relay have ended when this returns.

        Raises:
            ManageError: FORBIDDEN, MISSING, AWAY.
        """
        self._authorize(actor)
        token = await self._row(actor, token_id)
        with self.base.store_calls():
            await self.rows.drop(token)
        links = await self._revoke_here(token_id)
        self._record(actor, self.terms.deleted, before=token, links=str(links))

    def _quota(self) -> Quota:
        return Quota(limit=MAX_TOKENS, things="tokens", hint="Revoke some.", spares_admins=True)


class _GoodTokens:
    """The rows of tokens that are not revoked, including expired ones."""

    def __init__(self, base: ServiceBase, reread_here: Callable[[], Awaitable[None]]) -> None:
        self._base = base
        self._reread_here = reread_here

    async def get(self, token_id: str) -> Token | None:
        token = await self._base.store.token(token_id)
        return None if token is None or token.revoked_at is not None else token

    async def page(self, *, owner: str | None, before: str | None, limit: int, **equal: object) -> list[Token]:
        return await self._base.store.token_page(owner=owner, before=before, limit=limit)

    async def write(self, before: Token, after: Token) -> Token | None:
        if not await self._base.store.change_token(before, after):
            raise missing("credential")
        await self._reread_here()
        return after

    async def drop(self, token: Token) -> bool:
        return await self._base.store.revoke_token(token.id, self._base.clock()) is not None


def _check(acl: Sequence[str], expires_at: float | None, now: float) -> None:
    fields = {}
    if problem := acl_problems(acl):
        fields["acl"] = problem
    if problem := expiry_problem(expires_at, now):
        fields["expires_at"] = problem
    if fields:
        raise invalid(fields)
