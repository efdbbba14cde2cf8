"""Trust rules: which CI jobs may connect as agents with their own ID tokens, and what they may serve. Does no I/O.

A CI system (GitHub Actions, GitLab) signs a token for each job that identifies its project. A rule names claims of that
token, and the owner and names that a job with these claims gets. `oidc/sessions/job_tokens.py` checks signature,
audience and times of a token; `judge` then compares its claims with the rules.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tunnelctl.policy import values
from tunnelctl.policy.fields import MAX_ISSUER
from tunnelctl.policy.shared_issuers import narrows, shared_issuer
from tunnelrelay.policy.rules import Claims

GITHUB = "https://token.actions.githubusercontent.com"
CONFIGURED = "configuration"
"""Replaces the id of a rule that comes from the relay's configuration."""
MAX_CLAIMS = 16
"""Maximum claims of one rule. A job's token has about thirty."""
MAX_CLAIM_TEXT = 512
"""Maximum characters of a claim's name or value."""
MAX_AUDIENCE = 1024
MAX_LABEL = 120
"""Maximum characters of a job's label in logs and events, as the CI system's customer chooses the repository's name."""
NOT_NARROWING = frozenset(
    {
        *("iss", "aud", "exp", "nbf", "iat", "jti", "typ", "azp"),
        *("ref", "ref_type", "ref_path", "ref_protected", "sha", "event_name", "pipeline_source", "runner_environment"),
        *("environment", "environment_protected", "environment_action", "deployment_tier"),
        *("actor", "workflow", "job_workflow_ref", "user_login", "user_access_level"),
    }
)
"""Claims that say how a job runs, or that every job has. A rule with only these would admit every project of an issuer:
each has a branch `main`. Issuers with independent customers have a stricter list
(`tunnelctl.policy.shared_issuers`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustRule:
    """A rule that lets certain CI jobs connect as agents of an owner.

    Attributes:
        id: Id of its row in the store; "" for a rule in the relay's configuration.
        owner: Owner of the agents that jobs run.
        issuer: Issuer of the tokens, without a trailing slash.
        audience: Required audience of a job's token.
        claims: (name, value) pairs; the token must have all of them, compared exactly.
        acl: What a job's agent may serve, as in `Token.acl`.
    """

    id: str = ""
    owner: str
    issuer: str
    audience: str
    claims: tuple[tuple[str, str], ...]
    acl: tuple[str, ...]

    def misfits(self, claims: Claims) -> tuple[str, ...]:
        """Return the names of the claims that are missing or differ; empty when the rule admits the job."""
        is_github = self.issuer == GITHUB
        names = [name for name, value in self.claims if not _has(claims, name, value, is_github=is_github)]
        audiences = claims.get("aud")
        is_for_it = self.audience in (audiences if isinstance(audiences, list) else [audiences])
        return tuple(names if is_for_it else ["aud", *names])


@dataclass(frozen=True, slots=True)
class JobAdmitted:
    """The decision that a CI job may connect as an agent.

    Attributes:
        rules: The rules that admit it, all of one owner.
        job: Name of the job for logs, such as `acme/app run 1234`.
    """

    rules: tuple[TrustRule, ...]
    job: str

    @property
    def owner(self) -> str:
        """Owner of the job's agent."""
        return self.rules[0].owner

    @property
    def credential_id(self) -> str:
        """Id of the rule that admitted the job: the first one that has an id."""
        return next((rule.id for rule in self.rules if rule.id), CONFIGURED)

    @property
    def acl(self) -> tuple[str, ...]:
        """The addresses that the agent may serve by any of the rules."""
        return tuple(dict.fromkeys(each for rule in self.rules for each in rule.acl))


@dataclass(frozen=True, slots=True)
class JobRefused:
    """The decision that a CI job may not connect.

    Attributes:
        code: Error code of the response.
        reason: Explanation for the job: its own claims and which of them do not match. Contains neither the token nor
            the values that a rule requires.
        job: Name of the job for events; "" while its token is not verified.
    """

    code: str
    reason: str
    job: str = ""


def judge(rules: Sequence[TrustRule], claims: Claims) -> JobAdmitted | JobRefused:
    """Decide whether a job may connect.

    Args:
        rules: Rules about the token's issuer, at least one.
        claims: Claims of a token whose signature and times were checked.
    """
    job = job_label(claims)
    fitting = tuple(rule for rule in rules if not rule.misfits(claims))
    if len({rule.owner for rule in fitting}) > 1:
        return JobRefused("job_not_admitted", f"trust rules of several owners admit {job}", job)
    if fitting:
        return JobAdmitted(fitting, job)
    nearest = min((rule.misfits(claims) for rule in rules), key=len)
    named = ", ".join(f"`{name}` (it is {_shown(claims.get(name))})" for name in nearest)
    return JobRefused(
        "job_not_admitted", f"no trust rule admits {job}; of the nearest rule these do not fit: {named}", job
    )


def job_label(claims: Claims) -> str:
    """Return a job's name for logs: repository or project, and its run; the subject if there is neither."""
    project = _text(claims, "repository") or _text(claims, "project_path")
    run = _text(claims, "run_id") or _text(claims, "job_id")
    if not project:
        return _text(claims, "sub")[:MAX_LABEL]
    return f"{project} run {run}"[:MAX_LABEL] if run else project[:MAX_LABEL]


def issuer_name(text: str) -> str:
    """Return an issuer in the form of rules, without a trailing slash; "" for an invalid one."""
    name = text.rstrip("/")
    return "" if len(name) > MAX_ISSUER or values.issuer(name) else name


def rule_problems(rule: TrustRule, *, allows_http: bool = False) -> dict[str, str]:
    """Return the problems of a rule by field; empty when there are none. Owner and ACL are checked elsewhere.

    Args:
        allows_http: Issuers may use plain http, as on a relay for this machine only.
    """
    found = {}
    if problem := values.issuer(rule.issuer):
        found["issuer"] = problem
    elif not rule.issuer.startswith("https://") and not allows_http:
        found["issuer"] = "an issuer is asked for its keys over https only"
    if len(rule.audience) > MAX_AUDIENCE or values.audience(rule.audience):
        found["audience"] = f"1 to {MAX_AUDIENCE} printable characters"
    if problem := _claims_problem(rule):
        found["claims"] = problem
    return found


def _claims_problem(rule: TrustRule) -> str:
    if len(rule.claims) > MAX_CLAIMS or any(len(text) > MAX_CLAIM_TEXT for pair in rule.claims for text in pair):
        return f"at most {MAX_CLAIMS} claims of {MAX_CLAIM_TEXT} characters"
    if problem := next(filter(None, map(values.token_claim, rule.claims)), ""):
        return problem
    if len(dict(rule.claims)) != len(rule.claims):
        return "a claim is given twice; make a second rule for the other value"
    shared = shared_issuer(rule.issuer)
    if shared is not None and not narrows(rule.claims, shared):
        example = _example(rule.issuer, shared.example)
        return f"{rule.issuer} signs for {shared.who}: say whose jobs you mean, as in {example}"
    if all(name in NOT_NARROWING for name, _ in rule.claims):
        return "no claim says whose jobs are meant: give `sub`, or the id of a project or repository"
    return ""


def _example(issuer: str, example: str) -> str:
    """Return an example of a claim that identifies the project, if possible an id: released names can be taken by
    others.
    """
    return (
        "repository_id=123456789"
        if issuer == GITHUB
        else example.replace("project_path=GROUP/PROJECT", "project_id=42")
    )


def _has(claims: Claims, name: str, value: str, *, is_github: bool) -> bool:
    """Return whether a claim equals this text.

    Numbers and booleans are compared as in JSON; lists and objects never match, as a list could contain any other
    values too.
    """
    claim = claims.get(name)
    if isinstance(claim, bool):
        return value == ("true" if claim else "false")
    if isinstance(claim, int):
        return value == str(claim)
    if not isinstance(claim, str):
        return False
    if name == "email" and claims.get("email_verified") is not True:
        return False
    return value == claim or (is_github and name == "sub" and value == immutable_subject(claims))


def immutable_subject(claims: Claims) -> str:
    """Return GitHub's `sub` in the form with ids, `repo:acme@1/app@2:ref:refs/heads/main`; "" when it is unknown.

    Repositories created since 2026-07-15 have this form; older ones have `repo:acme/app:…`, and the ids in other
    claims. A rule with ids matches both. A rule without ids matches only tokens without ids, as the name may have
    another owner by now.
    """
    repository, subject = _text(claims, "repository"), _text(claims, "sub")
    owner_id, repository_id = _text(claims, "repository_owner_id"), _text(claims, "repository_id")
    owner, slash, name = repository.partition("/")
    plain = f"repo:{repository}:"
    if not (slash and owner_id.isdecimal() and repository_id.isdecimal() and subject.startswith(plain)):
        return ""
    return f"repo:{owner}@{owner_id}/{name}@{repository_id}:{subject.removeprefix(plain)}"


def _text(claims: Claims, name: str) -> str:
    claim = claims.get(name)
    return claim if isinstance(claim, str) and claim.isprintable() else ""


def _shown(claim: object) -> str:
    """Return a claim's value in the form that is shown to the job."""
    match claim:
        case str():
            return repr(claim[:MAX_LABEL])
        case None:
            return "missing"
        case bool() | int():
            return str(claim).lower()
        case _:
            return f"a {type(claim).__name__}"


def audiences_of(rules: Iterable[TrustRule]) -> frozenset[str]:
    """Return the audiences that a job's token may have."""
    return frozenset(rule.audience for rule in rules)
