"""The modules that the API and the dashboard group the settings of a policy into, in the order a request meets them."""

from collections.abc import Mapping
from dataclasses import dataclass

from tunnelctl.policy.fields import FIELDS, PolicyField


@dataclass(frozen=True, slots=True)
class PolicyModule:
    """One module.

    Attributes:
        name: Of the API; ngrok's where ngrok has the module too.
        title: Of its form.
        purpose: What it is for, in one sentence: for the API's description and the edge's page.
        icon: Of the dashboard.
    """

    name: str
    title: str
    purpose: str
    icon: str

    @property
    def key(self) -> str:
        """Its name in an address of the dashboard."""
        return self.name.replace("_", "-")

    @property
    def rows(self) -> tuple[PolicyField, ...]:
        """Its settings, in the order of the table."""
        return tuple(row for row in FIELDS if row.module == self.name)

    @property
    def has_form(self) -> bool:
        """Whether the dashboard can set it up."""
        return any(row.label for row in self.rows)

    @property
    def parts(self) -> tuple[str, ...]:
        """The fields of `PolicySpec` that its settings are in."""
        return tuple(dict.fromkeys(row.part for row in self.rows))


MODULES: Mapping[str, PolicyModule] = {
    module.name: module
    for module in (
        PolicyModule("ip_restriction", "IP restrictions", "Let visitors in from certain networks only.", "network"),
        PolicyModule(
            "oidc",
            "OpenID Connect",
            "Visitors sign in with your identity provider; rules decide who may pass.",
            "person",
        ),
        PolicyModule(
            "jwt",
            "Tokens of programs",
            "Programs show tokens of certain issuers, instead of a login or beside it.",
            "key",
        ),
        PolicyModule(
            "basic_auth",
            "Basic authentication",
            "Visitors give a user name and a password.",
            "lock",
        ),
        PolicyModule("rate_limit", "Rate limit", "A visitor may send only so many requests in a time.", "traffic"),
        PolicyModule(
            "request_headers",
            "Request headers",
            "Add or remove header fields on the way to your app.",
            "headers",
        ),
        PolicyModule(
            "response_headers",
            "Response headers",
            "Add or remove header fields on the way to visitors.",
            "headers",
        ),
    )
}
"""Every module, by name."""
