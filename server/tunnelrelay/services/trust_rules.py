"""Trust rules: which CI jobs may connect as agents with their own ID tokens, so that CI needs no authtoken.

A rule belongs to the owner of the agents that the jobs run. Only administrators create and change rules: otherwise a
member could write a rule about another owner's repository and get that repository's jobs as agents. `policy/trust.py`
checks a rule and compares jobs with it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from tunnelctl.bounds import DeclaredBound
from tunnelrelay.address import PublicAddress
from tunnelrelay.agents.authtokens import owner_problem
from tunnelrelay.agents.token_acl import acl_problems
from tunnelrelay.config.trust_rules import TrustRuleSettings
from tunnelrelay.policy.connections import RefusesIssuer
from tunnelrelay.policy.trust import TrustRule, rule_problems
from tunnelrelay.services.actor import Actor
from tunnelrelay.services.problems import invalid
from tunnelrelay.services.resource import Quota, Resource, StoredRows, Terms, as_it_is, without_none
from tunnelrelay.services.service_base import ServiceBase
from tunnelrelay.store.resources import Pairs, TrustRuleRow

MAX_TRUST_RULES = 1000
"""Maximum trust rules of the relay. A job's token is compared with all rules of its issuer, which takes some
milliseconds for this number."""

BOUNDS = (
    DeclaredBound(
        name="trust rules",
        limit=MAX_TRUST_RULES,
        unit="rules",
        per="relay",
        when_full="409 `too_many`",
        worst_bytes=0,
    ),
)


class TrustRuleError(Exception):
    """A trust rule in the relay's configuration is invalid; the message is for the operator."""

    hint = "put `trust_rule` right; docs/reference/configuration.md tells what each key means"


class TrustRules(Resource[TrustRuleRow, TrustRuleRow]):
    """Lists, creates, changes and deletes trust rules, for the API and the dashboard.

    Args:
        reread_here: Makes this relay check the connected jobs against changed rules at once.
        configured: Trust rules in the relay's configuration.

    Attributes:
        configured: Trust rules in the relay's configuration; they are shown, but can be changed only there.
    """

    terms = Terms(
        area="credentials",
        noun="trust rule",
        kind="trust_rule",
        created="trust_rule.created",
        updated="trust_rule.updated",
        deleted="trust_rule.deleted",
        admin_only=True,
    )
    audited = ("issuer", "audience", "acl", "description", "metadata")

    def __init__(
        self, base: ServiceBase, reread_here: Callable[[], Awaitable[None]], configured: Sequence[TrustRule] = ()
    ) -> None:
        super().__init__(base, StoredRows(base.store.trust_rules, base.clock), as_it_is)
        self._reread_here = reread_here
        self.configured = tuple(configured)

    async def create(
        self,
        actor: Actor,
        *,
        issuer: str,
        claims: Mapping[str, str],
        acl: Sequence[str],
        audience: str = "",
        description: str = "",
        metadata: str = "",
        owner: str | None = None,
    ) -> TrustRuleRow:
        """Create a rule. Administrators only.

        Args:
            claims: Claims that a job's token must have; one of them must identify the job's project.
            acl: What a job's agent may serve, as in an authtoken's ACL; at least one rule.
            audience: Required audience of the token; "" for this relay's address.
            owner: Owner of the agents that the jobs run; None for the actor's own.

        Raises:
            ManageError: FORBIDDEN, INVALID, CONFLICT when there are too many, AWAY.
        """
        new_owner = self._begin(actor, owner=owner, description=description, metadata=metadata)
        row = TrustRuleRow(
            **self._stamp(new_owner),
            issuer=issuer.strip().rstrip("/"),
            audience=audience.strip() or own_audience(self.base.address),
            claims=_pairs(claims),
            acl=tuple(acl),
            description=description,
            metadata=metadata,
        )
        self._check(row)
        return await self._add(actor, row, self.base.store.trust_rules.add)

    async def update(
        self,
        actor: Actor,
        rule_id: str,
        *,
        issuer: str | None = None,
        claims: Mapping[str, str] | None = None,
        acl: Sequence[str] | None = None,
        audience: str | None = None,
        description: str | None = None,
        metadata: str | None = None,
    ) -> TrustRuleRow:
        """Change the given values. Jobs that the rule had admitted are checked again. Administrators only.

        Raises:
            ManageError: FORBIDDEN, MISSING, INVALID, CONFLICT when another user changed it meanwhile; AWAY.
        """
        self._begin_change(actor, description=description, metadata=metadata)

        def change(row: TrustRuleRow) -> TrustRuleRow:
            changed = without_none(
                issuer=None if issuer is None else issuer.strip().rstrip("/"),
                audience=None if audience is None else audience.strip() or own_audience(self.base.address),
                claims=None if claims is None else _pairs(claims),
                acl=None if acl is None else tuple(acl),
                description=description,
                metadata=metadata,
            )
            after = replace(row, **changed)
            self._check(after)
            return after

        return await self._change(actor, rule_id, change)

    def audit_fields(self, row: TrustRuleRow) -> Mapping[str, object]:
        return {"claims": [f"{name}={value}" for name, value in row.claims], **super().audit_fields(row)}

    def _quota(self) -> Quota:
        return Quota(limit=MAX_TRUST_RULES, holder="A relay", things="trust rules", hint="Delete some.")

    async def _count(self, row: TrustRuleRow, limit: int) -> int:
        return len(await self.rows.page(owner=None, before=None, limit=limit))

    async def _apply(self, row_id: str) -> None:
        await self._reread_here()

    def _check(self, row: TrustRuleRow) -> None:
        """Check a rule. Raises `ManageError` INVALID."""
        base = self.base
        rule = TrustRule(owner=row.owner, issuer=row.issuer, audience=row.audience, claims=row.claims, acl=row.acl)
        if fields := _problems(rule, base.address, base.refuses_issuer):
            raise invalid(fields)


def configured_rules(
    settings: Sequence[TrustRuleSettings], address: PublicAddress, refuses_issuer: RefusesIssuer
) -> tuple[TrustRule, ...]:
    """Return the trust rules in the relay's configuration.

    Raises:
        TrustRuleError: Lists every mistake in them.
    """
    rules, problems = [], []
    for number, one in enumerate(settings, 1):
        rule = TrustRule(
            owner=one.owner,
            issuer=one.issuer.rstrip("/"),
            audience=one.audience or own_audience(address),
            claims=_pairs(one.claims),
            acl=one.acl,
        )
        rules.append(rule)
        problems += [
            f"trust_rule {number}: {name}: {text}" for name, text in _problems(rule, address, refuses_issuer).items()
        ]
    if problems:
        raise TrustRuleError("; ".join(problems))
    return tuple(rules)


def own_audience(address: PublicAddress) -> str:
    """Return the audience that agents request by default: the relay's own address."""
    return address.url(address.domain)


def _problems(rule: TrustRule, address: PublicAddress, refuses_issuer: RefusesIssuer) -> dict[str, str]:
    """Return the problems of a rule, by field."""
    fields = rule_problems(rule, allows_http=address.is_local)
    if "issuer" not in fields and (refusal := refuses_issuer(rule.issuer)):
        fields["issuer"] = f"this relay does not call it: {refusal}"
    if problem := owner_problem(rule.owner):
        fields["owner"] = problem
    if not rule.acl:
        fields["acl"] = "say what its jobs may serve, as in bind:pr-*; * is everything that the owner may"
    elif problem := acl_problems(rule.acl):
        fields["acl"] = problem
    return fields


def _pairs(claims: Mapping[str, str]) -> Pairs:
    return tuple(sorted(claims.items()))
