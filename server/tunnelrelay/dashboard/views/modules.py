"""What an edge's page tells of its modules: what each is for, and in one line what it does now. Pure."""

from dataclasses import dataclass

from tunnelctl.policy.named import is_named
from tunnelctl.wire.messages import HeaderEdit, OidcSpec
from tunnelrelay.services.edge_views import EdgeView


@dataclass(frozen=True, slots=True)
class Module:
    """One line of the page.

    Attributes:
        key: Its place below the edge's path.
        summary: What it does; "" while it is not set up.
    """

    key: str
    title: str
    purpose: str
    icon: str
    summary: str
    is_off: bool = False


def modules_of(edge: EdgeView) -> tuple[Module, ...]:
    """Every module there is, in the order in which a request meets them."""
    policy, off = edge.settings.policy, edge.settings.disabled
    allowed, denied = len(policy.cidr_allow), len(policy.cidr_deny)
    networks = _counted(allowed, "network", "allowed"), _counted(denied, "network", "denied")
    return (
        Module(
            "ip-restriction",
            "IP restrictions",
            "Let visitors in from certain networks only.",
            "network",
            ", ".join(filter(None, networks)),
            "ip_restriction" in off,
        ),
        Module(
            "oidc",
            "OpenID Connect",
            "Visitors sign in with your identity provider; rules decide who may pass.",
            "person",
            _login(policy.oidc) if policy.oidc else "",
            "oidc" in off,
        ),
        Module(
            "basic-auth",
            "Basic authentication",
            "One user name and password for everybody who may pass.",
            "lock",
            _counted(len(edge.held.users), "user"),
            "basic_auth" in off,
        ),
        Module(
            "request-headers",
            "Request headers",
            "Add or remove header fields on the way to your app.",
            "headers",
            _edits(policy.request_headers),
            "request_headers" in off,
        ),
        Module(
            "response-headers",
            "Response headers",
            "Add or remove header fields on the way to visitors.",
            "headers",
            _edits(policy.response_headers),
            "response_headers" in off,
        ),
        Module(
            "stickiness",
            "Sticky visitors",
            "A visitor stays with one tunnel, by a cookie, as long as it is there.",
            "pin",
            "By a cookie" if edge.settings.sticky else "",
        ),
    )


def _login(oidc: OidcSpec) -> str:
    rules = len(oidc.allow_emails) + len(oidc.allow_domains) + len(oidc.allow_groups) + len(oidc.allow_claims)
    who = f"{_counted(rules, 'rule')} let visitors in" if rules > 1 else "1 rule lets visitors in"
    where = oidc.issuer if is_named(oidc.issuer) else oidc.issuer.removeprefix("https://").removeprefix("http://")
    return f"{where} · {who if rules else 'everybody with an account there'}"


def _edits(edit: HeaderEdit) -> str:
    added, removed = _counted(len(edit.add), "field", "added"), _counted(len(edit.remove), "field", "removed")
    return ", ".join(filter(None, (added, removed)))


def _counted(count: int, noun: str, done: str = "") -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}{f' {done}' if done else ''}" if count else ""
