"""Trying an OpenID provider out before anybody logs in: the findings of `tunnel oidc check`, asked from the relay.

The calls go through the relay's guard, like those of a login: a tenant chooses the address.
"""

from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Protocol

from tunnelctl.bounds import DeclaredBound
from tunnelctl.oidc.findings import Finding
from tunnelctl.wire.messages import OidcSpec
from tunnelctl.wire.problem import Problem
from tunnelrelay.manage.actor import Actor
from tunnelrelay.manage.ground import Ground
from tunnelrelay.manage.problems import Kind, ManageError
from tunnelrelay.policy.connections import compile_connection, connection_id
from tunnelrelay.policy.limits import KEY_BYTES, MAX_KEYS, Buckets

BURST_TESTS, TESTS_PER_SECOND = 10, 0.1
"""Tests of one user. Each may be a dozen calls to an address of his choice, of which some wait for 8 s."""


MAX_AT_ONCE, MAX_OF_ONE = 20, 2
"""Tests under way on the relay, and of one user."""


BOUNDS = (
    DeclaredBound(
        name="tests of providers under way",
        limit=MAX_AT_ONCE,
        unit="tests",
        per="relay",
        when_full="429",
        worst_bytes=MAX_AT_ONCE * 600_000,
        holds=("ProviderTests._running",),
    ),
    DeclaredBound(
        name="tests of providers",
        limit=BURST_TESTS,
        unit="at once, one in 10 seconds after",
        per="user",
        when_full="429 with Retry-After",
        worst_bytes=MAX_KEYS * KEY_BYTES,
        holds=("ProviderTests._limit",),
    ),
)


class AsksProvider(Protocol):
    """Looks at a provider; `tunnelctl.agent.providercheck` over the guarded transport, outside tests."""

    def __call__(
        self, issuer: str, *, client_id: str, client_secret: str, redirect_uri: str, owner: str
    ) -> Awaitable[list[Finding]]:
        """Everything worth saying about it, in the order in which a login would notice."""


@dataclass(frozen=True, slots=True)
class ProviderTests:
    """See the module."""

    ground: Ground
    ask: AsksProvider
    _limit: Buckets = field(default_factory=lambda: Buckets(BURST_TESTS, TESTS_PER_SECOND))
    _running: Counter[str] = field(default_factory=Counter)

    async def run(self, actor: Actor, oidc: OidcSpec, *, owner: str, host: str = "") -> list[Finding]:
        """What is found about a login.

        Args:
            oidc: Whole: a named provider is resolved.
            host: The endpoint's, where it has one.

        Raises:
            ManageError: BUSY for a user who tests too often.
        """
        if self._running.total() >= MAX_AT_ONCE or self._running[actor.user_id] >= MAX_OF_ONE:
            raise ManageError(Kind.BUSY, "too_many_tests", "Too many tests are under way.", "Try again in a moment.")
        if wait := self._limit.wait(actor.user_id, self.ground.clock()):
            raise ManageError(Kind.BUSY, "too_many_tests", "Too many tests.", f"Try again in {wait} s.")
        problems: list[Problem] = []
        ground = self.ground
        compile_connection(
            oidc,
            owner=owner,
            key=ground.policy_key,
            problems=problems,
            is_local=ground.address.is_local,
            refuses_issuer=ground.refuses_issuer,
        )
        if problems:
            return [Finding(topic="settings", level="error", found=problem.text) for problem in problems]
        self._running[actor.user_id] += 1
        try:
            return await self.ask(
                oidc.issuer,
                client_id=oidc.client_id,
                client_secret=oidc.client_secret,
                redirect_uri=redirect_uri(ground, oidc, owner=owner, host=host) or "",
                owner=owner,
            )
        finally:
            self._running.subtract({actor.user_id: 1})
            if not self._running[actor.user_id]:
                del self._running[actor.user_id]


def redirect_uri(ground: Ground, oidc: OidcSpec, *, owner: str, host: str) -> str | None:
    """What to register at the provider; None where it hangs on a host there is not.

    Args:
        oidc: Whole: a named provider is resolved.
    """
    if oidc.callback == "host" and not host:
        return None
    return ground.address.redirect_uri(oidc.callback, connection_id(oidc, owner=owner, key=ground.policy_key), host)
