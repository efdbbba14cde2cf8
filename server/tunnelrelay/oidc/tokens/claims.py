"""Normalises a provider's claims for the rules, once for each login, re-check or access token.

Rules are strict (`policy.rules`): they expect one form of a verified address, and one place of groups. Providers
differ; the owner's settings for the provider are applied here. No address or group is added that the provider did not
send.
"""

from collections.abc import Mapping

from tunnelctl.eventlog import EventLog
from tunnelrelay.policy.rules import Claims, Connection

log = EventLog(__name__)

GROUPS = "groups"
"""Name of the claim in which rules look for groups."""
MAX_DEPTH = 8
"""Maximum depth in nested objects."""


def normalised(claims: Claims, connection: Connection) -> dict[str, object]:
    """Return the claims with `email_verified` and `groups` in the form for rules; all others unchanged."""
    read = dict(claims)
    verified = _verified(claims, connection.email_verified)
    if verified is not None:
        read["email_verified"] = verified
    if _is_overage(claims, connection.groups_claim):
        log.warning(
            "provider left the groups out of a token, there are too many",
            issuer=connection.issuer,
            hint="have it send only groups assigned to the app, or app roles (and name them with --oidc-groups-claim)",
        )
        read.pop(GROUPS, None)
    elif connection.groups_claim != GROUPS:
        # Drop `groups` when the owner configured another claim for groups.
        read.pop(GROUPS, None)
        groups = claim_at(claims, connection.groups_claim)
        if groups is not None:
            read[GROUPS] = groups
    return read


def claim_at(claims: Claims, path: str) -> object:
    """Return the claim with this name, or the value in nested objects to which the dots in the name lead; None without
    one.

    A claim with the whole name takes precedence, as names may contain dots themselves (`https://acme.example/groups`).
    """
    if path in claims:
        return claims[path]
    found: object = claims
    for name in path.split(".", MAX_DEPTH):
        if not isinstance(found, Mapping) or name not in found:
            return None
        found = found[name]
    return found


def root_of(path: str, claims: Claims) -> str:
    """Return the name of the top-level claim that `claim_at` begins with."""
    return path if path in claims else path.partition(".")[0]


def _verified(claims: Claims, mode: str) -> bool | None:
    """Return the value for `email_verified`; None to leave it unchanged.

    Args:
        mode: `claim`: only JSON true counts. `text`: the text "true" counts too (Amazon Cognito writes it so).
            `assumed`: a missing claim counts as well, for providers that never send it (Microsoft Entra ID). There, an
            administrator of the directory can enter any address ("nOAuth"), so this mode is for an owner's own
            directories. A provider that sends false is always believed.
    """
    value = claims.get("email_verified")
    if mode in ("text", "assumed") and value == "true":
        return True
    if mode == "assumed" and "email_verified" not in claims and _vouches(claims.get("xms_edov", True)):
        return True
    return None


def _vouches(value: object) -> bool:
    """Return whether a claim of Entra ID is true; Entra ID writes true, 1 or a text.

    `xms_edov` says that the e-mail's domain belongs to the directory.
    """
    return value in (True, "1", "true")


def _is_overage(claims: Claims, groups_claim: str) -> bool:
    """Return whether the token only references the groups, as Entra ID does when they do not fit (Core section 5.6.2).

    They are not fetched, as the URL comes from the token. A rule about groups then refuses the visitor.
    """
    elsewhere = claims.get("_claim_names")
    if isinstance(elsewhere, Mapping) and root_of(groups_claim, elsewhere) in elsewhere:
        return True
    return groups_claim == GROUPS and _vouches(claims.get("hasgroups", False))
