"""Trust rules: which CI jobs may connect as agents by their own ID tokens, and what they may serve. Pure.

A CI system (GitHub Actions, GitLab) signs a token for each job that says whose job it is. A rule names claims of that
token, and the owner and addresses that a job with these claims gets. `oidc/sessions/job_tokens.py` checks signature,
audience and times of a token; `judge` then holds its claims against the rules.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tunnelctl.policy import values
from tunnelctl.policy.fields import MAX_ISSUER
from tunnelctl.policy.shared_issuers import narrows, shared_issuer
from tunnelrelay.policy.rules import Claims

GITHUB = "https://token.actions.githubusercontent.com"
CONFIGURED = "configuration"
"""Stands for the id of a rule of the relay's configuration."""
MAX_CLAIMS = 16
"""Of one rule. A job's token has some thirty."""
MAX_CLAIM_TEXT = 512
"""Characters of a claim's name or value."""
MAX_AUDIENCE = 1024
MAX_LABEL = 120
"""Characters of a job's label in logs and events. The repository's name is the CI system's customer's to choose."""
NOT_NARROWING = frozenset(
    {
        *("iss", "aud", "exp", "nbf", "iat", "jti", "typ", "azp"),
        *("ref", "ref_type", "ref_path", "ref_protected", "sha", "event_name", "pipeline_source", "runner_environment"),
        *("environment", "environment_protected", "environment_action", "deployment_tier"),
        *("actor", "workflow", "job_workflow_ref", "user_login", "user_access_level"),
    }
)
"""Claims that say how a job runs, or that every job has. A rule made of these alone lets in every project of an issuer:
each has a branch `main`. Issuers that strangers use too have a stricter list (`tunnelctl.policy.shared_issuers`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustRule:
    """One rule.

    Attributes:
        id: Of its row in the store; "" for one of the relay's configuration.
        owner: Whose agents the jobs are.
        issuer: Without a slash at its end.
        audience: A job's token must be made for it.
        claims: (name, value) pairs; the token must have every one, compared exactly.
        acl: What a job's agent may bind, as `Token.acl` has it.
    """

    id: str = ""
    owner: str
    issuer: str
    audience: str
    claims: tuple[tuple[str, str], ...]
    acl: tuple[str, ...]

    def misfits(self, claims: Claims) -> tuple[str, ...]:
        """The names of the claims that are missing or have other values; empty when the rule admits the job."""
        is_github = self.issuer == GITHUB
        names = [name for name, value in self.claims if not _has(claims, name, value, is_github=is_github)]
        audiences = claims.get("aud")
        is_for_it = self.audience in (audiences if isinstance(audiences, list) else [audiences])
        return tuple(names if is_for_it else ["aud", *names])


@dataclass(frozen=True, slots=True)
class JobAdmitted:
    """A CI job may connect as an agent.

    Attributes:
        rules: Those that admit it, all of one owner.
        job: Names the job in logs, as `acme/app run 1234`.
    """

    rules: tuple[TrustRule, ...]
    job: str

    @property
    def owner(self) -> str:
        """Whose agent it is."""
        return self.rules[0].owner

    @property
    def credential_id(self) -> str:
        """Names what admitted it: the id of the first rule that has one."""
        return next((rule.id for rule in self.rules if rule.id), CONFIGURED)

    @property
    def acl(self) -> tuple[str, ...]:
        """What it may bind by any of the rules."""
        return tuple(dict.fromkeys(each for rule in self.rules for each in rule.acl))


@dataclass(frozen=True, slots=True)
class JobRefused:
    """A CI job may not connect.

    Attributes:
        code: Of the error to answer with.
        reason: Why, for the job: names its own claims and which of them do not fit. Never the token, nor what a rule
            asks for.
        job: Names the job in events; "" while its token is not known to be genuine.
    """

    code: str
    reason: str
    job: str = ""


def judge(rules: Sequence[TrustRule], claims: Claims) -> JobAdmitted | JobRefused:
    """Return whether a job may connect.

    Args:
        rules: Of the token's issuer, one at least.
        claims: Of a token whose signature and times were checked.
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
    """A job's name for logs: repository or project, and its run; the subject where there is neither."""
    project = _text(claims, "repository") or _text(claims, "project_path")
    run = _text(claims, "run_id") or _text(claims, "job_id")
    if not project:
        return _text(claims, "sub")[:MAX_LABEL]
    return f"{project} run {run}"[:MAX_LABEL] if run else project[:MAX_LABEL]


def issuer_name(text: str) -> str:
    """An issuer as rules name it, without a slash at its end; "" for what cannot be one."""
    name = text.rstrip("/")
    return "" if len(name) > MAX_ISSUER or values.issuer(name) else name


def rule_problems(rule: TrustRule, *, allows_http: bool = False) -> dict[str, str]:
    """What is wrong with a rule, by field; empty when nothing is. Owner and ACL are checked elsewhere.

    Args:
        allows_http: Issuers may be plain http, as on a relay of this machine alone.
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
    """A claim that narrows, an id where there is one: names can be taken by others when they are given up."""
    return (
        "repository_id=123456789"
        if issuer == GITHUB
        else example.replace("project_path=GROUP/PROJECT", "project_id=42")
    )


def _has(claims: Claims, name: str, value: str, *, is_github: bool) -> bool:
    """Whether a claim is this very text. Numbers and booleans count as JSON writes them, lists and objects never: a
    list that holds the value would fit however many other values it holds."""
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
    """GitHub's `sub` in the form with ids, `repo:acme@1/app@2:ref:refs/heads/main`; "" where it cannot be told.

    Repositories made since 2026-07-15 have it so; older ones have `repo:acme/app:…`, and the ids in other claims. A
    rule with ids fits both. A rule without ids fits tokens without ids only: the name may be another owner's by now.
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
    """A claim's value as the job is told it."""
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
    """The audiences that a job's token may be made for."""
    return frozenset(rule.audience for rule in rules)
