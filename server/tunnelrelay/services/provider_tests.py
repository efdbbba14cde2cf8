"""Tests an OpenID provider before anyone logs in: the findings of `tunnel oidc check`, run on the relay.

The calls pass the relay's SSRF guard, like those of a login, as a tenant chooses the URL.
"""

from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Protocol

from tunnelctl.bounds import DeclaredBound
from tunnelctl.memo import Recent
from tunnelctl.oidc.findings import Finding
from tunnelctl.wire.messages import OidcSpec
from tunnelrelay.policy.connections import connection_id, connection_problems, digest
from tunnelrelay.policy.limits import KEY_BYTES, Buckets, give_back
from tunnelrelay.services.actor import Actor
from tunnelrelay.services.problems import Kind, ManageError
from tunnelrelay.services.service_base import ServiceBase

BURST_TESTS, TESTS_PER_SECOND = 10, 0.1
"""Maximum tests of one user, at once and per second. Each may cause a dozen calls to a URL of the user's choice, some
of which wait for 8 s."""


MAX_AT_ONCE, MAX_OF_ONE = 20, 2
"""Maximum concurrent tests of all users, and of one user."""


FAILED_SECONDS = 900.0
"""Seconds for which a failed test is remembered, so that a user who saves the tested settings is asked to confirm."""
MAX_FAILED = 1024
"""Maximum failed tests in memory, about 600 bytes each, 700 KB in total; the oldest are dropped."""

BOUNDS = (
    DeclaredBound(
        name="failed tests of providers that are remembered",
        limit=MAX_FAILED,
        unit="tests",
        per="relay",
        when_full="the oldest is forgotten",
        worst_bytes=MAX_FAILED * 700,
        holds=("ProviderTests._failed",),
    ),
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
        name="tests of providers of one user under way",
        limit=MAX_OF_ONE,
        unit="tests",
        per="user",
        when_full="429",
        worst_bytes=0,
    ),
    DeclaredBound(
        name="tests of providers",
        limit=BURST_TESTS,
        unit="at once, one in 10 seconds after",
        per="user",
        when_full="429 with Retry-After",
        worst_bytes=KEY_BYTES,
        holds=("ProviderTests._limit",),
    ),
)


class ChecksProvider(Protocol):
    """Interface of a provider check; implemented by `tunnelctl.agent.preflight` over the guarded transport, except in
    tests.
    """

    def __call__(
        self, issuer: str, *, client_id: str, client_secret: str, redirect_uri: str, owner: str
    ) -> Awaitable[list[Finding]]:
        """Check a provider and return the findings, in the order of the steps of a login."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedTest:
    """A failed test of a login.

    Attributes:
        id: Digest of this login and its findings, without its secret.
        at: Unix time of the test.
        found: The first error.
    """

    id: str
    at: float
    found: str


@dataclass(frozen=True, slots=True)
class ProviderTests:
    """Tests logins against their providers and remembers failed tests for a while."""

    base: ServiceBase
    check: ChecksProvider
    _limit: Buckets = field(default_factory=lambda: Buckets(BURST_TESTS, TESTS_PER_SECOND))
    _running: Counter[str] = field(default_factory=Counter)
    _failed: Recent[str, FailedTest] = field(default_factory=lambda: Recent[str, FailedTest](MAX_FAILED))

    async def run(self, actor: Actor, oidc: OidcSpec, *, owner: str, host: str = "") -> list[Finding]:
        """Test a login, and return the findings.

        Args:
            oidc: The complete login; a named provider is already resolved.
            host: Host of the endpoint, if it has one.

        Raises:
            ManageError: BUSY for a user who tests too often.
        """
        if self._running.total() >= MAX_AT_ONCE or self._running[actor.user_id] >= MAX_OF_ONE:
            raise ManageError(Kind.BUSY, "too_many_tests", "Too many tests are under way.", "Try again in a moment.")
        if wait := self._limit.wait(actor.user_id, self.base.clock()):
            raise ManageError(Kind.BUSY, "too_many_tests", "Too many tests.", f"Try again in {wait} s.")
        base = self.base
        problems = connection_problems(oidc, is_local=base.address.is_local, refuses_issuer=base.refuses_issuer)
        if problems:
            return [Finding(topic="settings", level="error", found=problem.text) for problem in problems]
        self._running[actor.user_id] += 1
        try:
            findings = await self.check(
                oidc.issuer,
                client_id=oidc.client_id,
                client_secret=oidc.client_secret,
                redirect_uri=redirect_uri(base, oidc, owner=owner, host=host) or "",
                owner=owner,
            )
            self._note(owner, oidc, findings)
            return findings
        finally:
            give_back(self._running, actor.user_id)

    def failed(self, owner: str, oidc: OidcSpec) -> FailedTest | None:
        """Return the last test of this login, if it failed recently.

        Args:
            oidc: The complete login, as for `run`.
        """
        known = self._failed.get(self._key(owner, oidc))
        return known if known is not None and known.at + FAILED_SECONDS > self.base.clock() else None

    def _note(self, owner: str, oidc: OidcSpec, findings: list[Finding]) -> None:
        key = self._key(owner, oidc)
        self._failed.pop(key, None)
        wrong = next((finding.found for finding in findings if finding.level == "error"), "")
        if wrong:
            self._failed[key] = FailedTest(id=key, at=self.base.clock(), found=wrong[:300])

    def _key(self, owner: str, oidc: OidcSpec) -> str:
        texts = (owner, oidc.issuer, oidc.client_id, oidc.client_secret)
        return digest(self.base.policy_key, "provider test", texts)


def redirect_uri(base: ServiceBase, oidc: OidcSpec, *, owner: str, host: str) -> str | None:
    """Return the redirect URI to register at the provider; None where it needs a host and there is none.

    Args:
        oidc: The complete login; a named provider is already resolved.
    """
    if oidc.callback == "host" and not host:
        return None
    return base.address.redirect_uri(oidc.callback, connection_id(oidc, owner=owner, key=base.policy_key), host)
