"""The list of modules on an edge's page: what each module is for, and a summary of its present settings. Pure."""

from dataclasses import dataclass

from tunnelctl.policy.fields import value_of
from tunnelctl.policy.modules import MODULES, PolicyModule
from tunnelctl.policy.named import is_named
from tunnelctl.wire.messages import HeaderEdit, OidcSpec
from tunnelrelay.dashboard.policy_form import text_of
from tunnelrelay.services.edge_views import EdgeView


@dataclass(frozen=True, slots=True)
class ModuleLine:
    """One module in the list on an edge's page.

    Attributes:
        key: Last part of the path of the module's page, below the edge's path.
        summary: The module's present settings in a few words; "" when it is not configured.
        is_off: Whether the module is configured but disabled.
    """

    key: str
    title: str
    purpose: str
    icon: str
    summary: str
    is_off: bool = False


def modules_of(edge: EdgeView) -> tuple[ModuleLine, ...]:
    """Return a line for every module that has a form, in the order in which a request passes the modules."""
    lines = [
        ModuleLine(
            module.key,
            module.title,
            module.purpose,
            module.icon,
            _summary(module, edge),
            module.name in edge.settings.disabled,
        )
        for module in MODULES.values()
        if module.has_form
    ]
    sticky = "By a cookie" if edge.settings.sticky else ""
    purpose = "A visitor stays with one tunnel, by a cookie, as long as it is there."
    return (*lines, ModuleLine("stickiness", "Sticky visitors", purpose, "pin", sticky))


def _summary(module: PolicyModule, edge: EdgeView) -> str:
    policy = edge.settings.policy
    match module.name:
        case "oidc":
            return _login(policy.oidc) if policy.oidc else ""
        case "basic_auth":
            return _counted(len(edge.stored_secrets.users), "user")
        case "ip_restriction":
            networks = (len(policy.cidr_allow), "allowed"), (len(policy.cidr_deny), "denied")
            return ", ".join(filter(None, (_counted(count, "network", done) for count, done in networks)))
        case "request_headers" | "response_headers":
            edit: HeaderEdit = getattr(policy, module.name)
            fields = (len(edit.add), "added"), (len(edit.remove), "removed")
            return ", ".join(filter(None, (_counted(count, "field", done) for count, done in fields)))
        case _:
            texts = ((row.label, text_of(row, value_of(policy, row))) for row in module.rows)
            return ", ".join(f"{label}: {' '.join(text.split())}" for label, text in texts if text)


def _login(oidc: OidcSpec) -> str:
    rules = len(oidc.allow_emails) + len(oidc.allow_domains) + len(oidc.allow_groups) + len(oidc.allow_claims)
    who = f"{_counted(rules, 'rule')} let visitors in" if rules > 1 else "1 rule lets visitors in"
    where = oidc.issuer if is_named(oidc.issuer) else oidc.issuer.removeprefix("https://").removeprefix("http://")
    return " · ".join(
        [
            where,
            who if rules else "everybody with an account there",
            *filter(None, [_counted(len(oidc.public_paths), "public path")]),
        ]
    )


def _counted(count: int, noun: str, done: str = "") -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}{f' {done}' if done else ''}" if count else ""
