"""Issuers that sign tokens for anyone with an account there, and the claims that identify a single customer.

Every account holder can get tokens of such an issuer for any audience: GitHub signs for every repository, Google for
every service account. A valid signature and audience therefore prove little; a rule about one of these claims is
needed.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SharedIssuer:
    """An issuer that signs tokens for many independent customers.

    Attributes:
        who: Description of the accounts it signs for.
        claims: Claims whose values belong to one customer alone. Claims that a stranger can influence are left out:
            GitHub's `actor` is the account that caused a run, in any repository, and `job_workflow_ref` is the reusable
            workflow that runs, which any repository may call if it is public.
        example: Example of a rule that selects one customer.
        groups: The issuer's `groups` have globally unique names, so that a rule about groups selects one customer too.
        sub_begins: Prefixes of a `sub` that identifies one customer, where customers choose what their `sub` contains.
        account: The account that a person logs in with, in words; "" where people do not log in.
    """

    who: str
    claims: frozenset[str]
    example: str
    groups: bool = False
    sub_begins: tuple[str, ...] = ("",)
    account: str = ""


def _shared(
    who: str,
    claims: str,
    example: str,
    *,
    groups: bool = False,
    sub_begins: tuple[str, ...] = ("",),
    account: str = "",
) -> SharedIssuer:
    return SharedIssuer(who, frozenset(claims.split()), example, groups, sub_begins, account)


_GITHUB = "repository repository_id repository_owner repository_owner_id workflow_ref enterprise_id sub"
_GITLAB = "project_path project_id namespace_path namespace_id ci_config_ref_uri sub"
_GITHUB_SUBS = ("repo:", "repository_id:", "repository_owner:", "repository_owner_id:")
"""Prefixes of a `sub` that name the repository. A repository may build its `sub` from other claims, such as
`ref:refs/heads/main`, which any other repository can imitate."""
_ANYBODY = "sub=THE-ACCOUNT'S-ID"

SHARED: dict[str, SharedIssuer] = {
    "https://token.actions.githubusercontent.com": _shared(
        "every workflow in every repository on GitHub",
        _GITHUB,
        "repository=OWNER/REPOSITORY",
        sub_begins=_GITHUB_SUBS,
    ),
    "https://gitlab.com": _shared(
        "every account and every CI job on GitLab.com",
        _GITLAB,
        "project_path=GROUP/PROJECT",
        groups=True,
        account="a GitLab.com account",
    ),
    "https://accounts.google.com": _shared(
        "every Google account and every service account",
        "sub hd email",
        "email=bot@acme.iam.gserviceaccount.com",
        account="a Google account",
    ),
    "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0": _shared(
        "every personal Microsoft account", "sub oid", _ANYBODY, account="a personal Microsoft account"
    ),
    "https://agent.buildkite.com": _shared(
        "every pipeline on Buildkite", "organization_slug organization_id pipeline_id sub", "organization_slug=ACME"
    ),
    "https://oidc.vercel.com": _shared("every project on Vercel", "owner owner_id project_id sub", "owner=TEAM"),
    "https://app.terraform.io": _shared(
        "every run on HCP Terraform",
        "terraform_organization_id terraform_organization_name terraform_project_id terraform_workspace_id sub",
        "terraform_organization_name=ACME",
    ),
    "https://oidc.codefresh.io": _shared("every pipeline on Codefresh", "account_id pipeline_id sub", "account_id=ID"),
    "https://oauth2.sigstore.dev/auth": _shared("everybody who signs with Sigstore", "sub email", _ANYBODY),
    "https://cognito-identity.amazonaws.com": _shared("every Amazon Cognito identity pool", "sub", _ANYBODY),
    "https://appleid.apple.com": _shared("every Apple account", "sub email", _ANYBODY, account="an Apple account"),
    "https://login.salesforce.com": _shared(
        "every Salesforce organisation", "organization_id sub", "organization_id=ID"
    ),
    "https://slack.com": _shared("every Slack workspace", "https://slack.com/team_id sub", _ANYBODY),
    "https://www.facebook.com": _shared("every Facebook account", "sub", _ANYBODY, account="a Facebook account"),
    "https://limited.facebook.com": _shared("every Facebook account", "sub", _ANYBODY),
    "https://www.linkedin.com/oauth": _shared(
        "every LinkedIn account", "sub email", _ANYBODY, account="a LinkedIn account"
    ),
    "https://discord.com": _shared("every Discord account", "sub", _ANYBODY, account="a Discord account"),
    "https://id.twitch.tv/oauth2": _shared("every Twitch account", "sub", _ANYBODY, account="a Twitch account"),
    "https://access.line.me": _shared("every LINE account", "sub", _ANYBODY, account="a LINE account"),
    "https://kauth.kakao.com": _shared("every Kakao account", "sub", _ANYBODY, account="a Kakao account"),
    "https://api.login.yahoo.com": _shared("every Yahoo account", "sub email", _ANYBODY, account="a Yahoo account"),
}
"""The shared issuers, by issuer URL without a trailing slash."""

SHARED_DOMAINS = frozenset(
    {
        "gmail.com",
        "googlemail.com",
        "developer.gserviceaccount.com",
        "appspot.gserviceaccount.com",
        "cloudservices.gserviceaccount.com",
        "cloudbuild.gserviceaccount.com",
    }
)
"""E-mail domains in which every Google customer can have addresses: a rule for one of them excludes few."""


def shared_issuer(issuer: str) -> SharedIssuer | None:
    """Return the row of a shared issuer; None for an issuer that is not in the table."""
    return SHARED.get(issuer.rstrip("/").lower())


def narrows(rules: Iterable[tuple[str, str]], shared: SharedIssuer) -> bool:
    """Return whether claim rules admit one customer only.

    Every name must match one of its values, so one such name suffices.

    Args:
        rules: (name, value) pairs of claims.
    """
    values: dict[str, list[str]] = {}
    for name, value in rules:
        values.setdefault(name, []).append(value)
    return any(
        name in shared.claims and (name != "sub" or all(text.startswith(shared.sub_begins) for text in texts))
        for name, texts in values.items()
    )
