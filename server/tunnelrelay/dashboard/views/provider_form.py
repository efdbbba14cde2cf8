"""The form of a named OpenID provider: converts stored settings to the form's texts, and a sent form back. Pure.

The client secret is never shown in the form again, not even after an error in another field.
"""

from dataclasses import dataclass, field

import msgspec

from tunnelctl.policy.fields import BY_PATH
from tunnelrelay.dashboard.form import Form
from tunnelrelay.dashboard.policy_form import text_of, values_of
from tunnelrelay.services.provider_settings import ProviderSettings
from tunnelrelay.services.providers import ProviderView

EMPTY = ProviderSettings(issuer="", client_id="")
ROWS = tuple(BY_PATH[f"oidc.{name}"] for name in ProviderSettings.__struct_fields__)
"""The settings of a login that a named provider sets."""
FOLDED = frozenset({"groups_claim", "email_verified", "callback", "request_params"})
"""Names of the form's fields in a section that is collapsed unless one of them has an error."""
SHOWN = frozenset({"name", "description", "client_secret", "owners", *(row.api_name for row in ROWS)})
"""Names of the form's fields that show their own error; other errors are listed above the form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedProvider:
    """The content of the form of a named provider.

    Attributes:
        settings: The provider's settings that the form means, with the client secret.
        texts: The texts of the form's fields, to show them again.
        errors: Texts that cannot be parsed: an error by field.
    """

    settings: ProviderSettings
    texts: dict[str, str]
    errors: dict[str, str] = field(default_factory=dict)


def shown(provider: ProviderView | None) -> TypedProvider:
    """Return the content of the form for a stored provider; None gives the form for a new one."""
    settings = provider.settings if provider else EMPTY
    texts = {
        "name": provider.row.name if provider else "",
        "description": provider.row.description if provider else "",
        "owners": "\n".join(provider.row.owners) if provider else "",
        **{row.api_name: text_of(row, getattr(settings, row.name)) for row in ROWS},
    }
    return TypedProvider(settings=settings, texts=texts)


def typed(form: Form) -> TypedProvider:
    """Read the settings of a provider from a sent form."""
    errors: dict[str, str] = {}
    texts = {name: form.text(name) for name in shown(None).texts}
    settings = msgspec.structs.replace(EMPTY, **values_of(ROWS, form, errors))
    return TypedProvider(settings=settings, texts=texts, errors=errors)
