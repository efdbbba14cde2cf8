"""Settings of the dashboard: the OpenID provider for sign-ins, and the claims that give users their role.

They are a part of `config.RelayConfig`, which inherits them.
"""

# ruff: noqa: RUF009 (`setting` returns a dataclass field, which is what the rule asks for)

import os
from collections.abc import Mapping
from dataclasses import dataclass

from tunnelctl.policy import values
from tunnelctl.secret import Secret
from tunnelctl.secret_source import names_a_source, read_source
from tunnelrelay.config.sources import SettingProblem, flag_name
from tunnelrelay.config.values import setting

MAX_TEXT = 1024
"""Characters that a client secret, a client id, or a claim's name or value may have."""


def issuer(text: str) -> str:
    """Read an OpenID provider's issuer, the URL that identifies it. Raises ValueError for other texts."""
    if problem := values.issuer(text):
        raise ValueError(problem)
    return text


def plain(text: str) -> str:
    """Read a text of 1 to `MAX_TEXT` printable characters. Raises ValueError for other texts."""
    if not text.strip() or not text.isprintable() or len(text) > MAX_TEXT:
        raise ValueError(f"must be 1 to {MAX_TEXT} printable characters")
    return text


def secret(text: str) -> Secret:
    """Read a client secret from `env:NAME`, `file:PATH`, or the text itself. Errors do not repeat the secret."""
    text = read_source(text, os.environ)
    if not text.strip() or not text.isprintable() or len(text) > MAX_TEXT:
        raise ValueError(f"a client secret has 1 to {MAX_TEXT} printable characters")
    return Secret(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardSettings:
    """The settings of sign-ins to the dashboard with an OpenID provider."""

    dashboard_oidc: str | None = setting(
        issuer, "Issuer of the OpenID provider by which people sign in to the dashboard.", shape="URL"
    )
    dashboard_oidc_client_id: str | None = setting(
        plain,
        "The dashboard's client id at that provider. The redirect URI to register there is logged at the start.",
        shape="ID",
    )
    dashboard_oidc_client_secret: Secret | None = setting(
        secret,
        "And its secret. `file:PATH` and `env:NAME` read it from there: it may not stand in the flag.",
        shape="file:PATH|env:NAME",
        has_secret=lambda text: not names_a_source(text),
    )
    dashboard_role_claim: str = setting(
        plain,
        "The claim whose values `dashboard_admin` and `dashboard_member` name; dots lead into nested objects.",
        shape="CLAIM",
        default="groups",
    )
    dashboard_admin: tuple[str, ...] = setting(
        plain, "Values of that claim that make a user an administrator.", shape="VALUE", default=(), is_list=True
    )
    dashboard_member: tuple[str, ...] = setting(
        plain,
        "Values of that claim that make a user a member, who sees and changes what their owner owns.",
        shape="VALUE",
        default=(),
        is_list=True,
    )
    dashboard_owner_claim: str | None = setting(
        plain,
        "The claim that names a new member's owner. Without one each gets an owner of their own, and administrators can"
        " change it.",
        shape="CLAIM",
    )


def dashboard_problems(
    settings: DashboardSettings, where: Mapping[str, str], *, is_local: bool
) -> list[SettingProblem]:
    """Return the mistakes in combinations of the dashboard's settings.

    Args:
        where: The origin of each setting, for messages.
        is_local: Whether the relay's names work only on this machine, so that the provider may use plain http.
    """
    needs = ("dashboard_oidc_client_id", "dashboard_oidc_client_secret")
    if settings.dashboard_oidc is None:
        more = (*needs, "dashboard_admin", "dashboard_member", "dashboard_owner_claim")
        message = "is of no use without dashboard_oidc"
        return [
            SettingProblem(where[name], message, "add --dashboard-oidc URL") for name in more if getattr(settings, name)
        ]
    problems = [
        SettingProblem(where["dashboard_oidc"], f"needs {name}", f"add {flag_name(name)}")
        for name in needs
        if not getattr(settings, name)
    ]
    if settings.dashboard_oidc.startswith("http://") and not is_local:
        problems.append(SettingProblem(where["dashboard_oidc"], "a provider is asked by https only"))
    if not settings.dashboard_admin and not settings.dashboard_member:
        message = "no user could sign in: no value of the role claim makes a user a member or an administrator"
        problems.append(SettingProblem(where["dashboard_oidc"], message, "add --dashboard-admin VALUE"))
    return problems
