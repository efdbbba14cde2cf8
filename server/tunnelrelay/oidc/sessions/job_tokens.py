"""Lets CI jobs connect as agents: checks a job's ID token, and finds the trust rules that admit the job.

The token is checked like programs' access tokens (`oidc/tokens/access_token.py`), with a limit on its age. A token may
be used repeatedly while it is valid, since an agent reconnects; each use only opens a link with what the rules grant.
`policy/trust.py` compares the claims with the rules; `agents/accept.py` opens and ends the links.
"""

from collections.abc import Callable, Sequence
from typing import Any

from tunnelctl.eventlog import EventLog
from tunnelctl.oidc.errors import ProviderError
from tunnelctl.oidc.keys import KeySet
from tunnelctl.oidc.metadata import Metadata
from tunnelrelay.oidc.providers.provider import ProviderClient
from tunnelrelay.oidc.tokens.access_token import check_bearer_token, claimed_issuer
from tunnelrelay.oidc.tokens.id_token import LEEWAY, TokenInvalid, numeric_date
from tunnelrelay.policy.connections import RefusesIssuer, digest, without_client
from tunnelrelay.policy.rules import TokenIssuer
from tunnelrelay.policy.trust import JobAdmitted, JobRefused, TrustRule, audiences_of, issuer_name, judge
from tunnelrelay.store.base import TrustRuleStore
from tunnelrelay.store.resources import TrustRuleRow

log = EventLog(__name__)

MAX_AGE = 24 * 3600
"""Maximum seconds since `iat`. GitHub's tokens are valid for minutes, GitLab's for as long as their job may run. If an
issuer signs tokens for weeks, a leaked one must not be usable for weeks."""


class JobTokens:
    """Checks the ID tokens of CI jobs.

    Args:
        configured: Trust rules in the relay's configuration, in addition to those in the store.
        key: Key of the digests that identify an issuer's cached documents.
        refuses_issuer: Function that decides which issuers this relay may call.
        clock: Function that returns Unix time.
    """

    def __init__(
        self,
        store: TrustRuleStore,
        providers: ProviderClient,
        *,
        configured: Sequence[TrustRule] = (),
        key: bytes,
        refuses_issuer: RefusesIssuer,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._providers = providers
        self._configured = tuple(configured)
        self._key = key
        self._refuses_issuer = refuses_issuer
        self._clock = clock

    async def judge(self, token: str) -> JobAdmitted | JobRefused | None:
        """Check a token and find the rules that admit its job. Return None when the token is not from a trusted issuer.

        Raises:
            StoreError: The rules cannot be read.
        """
        issuer = claimed_issuer(token)
        rules = await self._rules(issuer)
        if not rules or self._refuses_issuer(rules[0].issuer):
            return None
        trusted = TokenIssuer(
            connection=without_client(digest(self._key, "job issuer", (rules[0].issuer,)), rules[0].issuer),
            audiences=audiences_of(rules),
        )

        def check(metadata: Metadata, keys: KeySet) -> dict[str, Any]:
            claims = check_bearer_token(token, metadata, keys, trusted, now=self._clock())
            if numeric_date(claims, "iat") < self._clock() - MAX_AGE - LEEWAY:
                raise TokenInvalid("it was issued too long ago (`iat`)")
            return claims

        try:
            claims = await self._providers.verify(trusted.connection, check)
        except TokenInvalid as error:
            return JobRefused("job_token_invalid", str(error))
        except ProviderError as error:
            log.warning("job token not checked", issuer=rules[0].issuer, error=error.detail)
            return JobRefused("relay_busy", f"the keys of {rules[0].issuer} cannot be read at the moment")
        # Read the rules again: fetching the issuer's keys may have taken seconds, and a rule deleted meanwhile must not
        # count.
        rules = await self._rules(issuer)
        return judge(rules, claims) if rules else None

    async def _rules(self, issuer: str) -> tuple[TrustRule, ...]:
        """Return the rules about an issuer.

        Trailing slashes are ignored here and compared by the check of the token.
        """
        name = issuer_name(issuer)
        if not name:
            return ()
        configured = tuple(rule for rule in self._configured if rule.issuer == name)
        return configured + tuple(rule_of(row) for row in await self._store.trust_rules.all(issuer=name))


def rule_of(row: TrustRuleRow) -> TrustRule:
    """Return the trust rule for a row of the store."""
    return TrustRule(
        id=row.id, owner=row.owner, issuer=row.issuer, audience=row.audience, claims=row.claims, acl=row.acl
    )
