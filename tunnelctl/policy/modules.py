"""The modules into which the API and the dashboard group the settings of a policy, in the order in which they act on a
request.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tunnelctl.policy.fields import FIELDS, PolicyField


@dataclass(frozen=True, slots=True)
class PolicyModule:
    """A group of settings in the API and the dashboard.

    Attributes:
        name: Name in the API; ngrok's name if ngrok has the module too.
        title: Title of the dashboard's form.
        purpose: Purpose in one sentence, for the API's description and the edge's page.
        icon: Icon in the dashboard.
    """

    name: str
    title: str
    purpose: str
    icon: str

    @property
    def key(self) -> str:
        """Name of the module in URLs of the dashboard."""
        return self.name.replace("_", "-")

    @property
    def rows(self) -> tuple[PolicyField, ...]:
        """The settings of the module, in the order of the table."""
        return tuple(row for row in FIELDS if row.module == self.name)

    @property
    def has_form(self) -> bool:
        """Whether the dashboard has a form for the module."""
        return any(row.label for row in self.rows)

    @property
    def parts(self) -> tuple[str, ...]:
        """The fields of `PolicySpec` that contain the module's settings."""
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
"""Every module (a group of settings), by name."""
