"""The form of a named provider: from what is kept to what is typed, and back. Pure.

The client secret is written only: it never comes back into the form, not even after a mistake elsewhere in it.
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
"""The settings of a login that are a provider's."""
FOLDED = frozenset({"groups_claim", "email_verified", "callback", "request_params"})
"""Fields that are folded away while nothing is wrong with them."""
SHOWN = frozenset({"name", "description", "client_secret", "owners", *(row.api_name for row in ROWS)})
"""Fields that have a place for what is wrong with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedProvider:
    """What a user has typed.

    Attributes:
        texts: The fields as they are to be shown again.
        errors: What makes no sense by itself, by field.
    """

    settings: ProviderSettings
    texts: dict[str, str]
    errors: dict[str, str] = field(default_factory=dict)


def shown(provider: ProviderView | None) -> TypedProvider:
    """The form of a provider that is kept, or of none yet."""
    settings = provider.settings if provider else EMPTY
    texts = {
        "name": provider.row.name if provider else "",
        "description": provider.row.description if provider else "",
        "owners": "\n".join(provider.row.owners) if provider else "",
        **{row.api_name: text_of(row, getattr(settings, row.name)) for row in ROWS},
    }
    return TypedProvider(settings=settings, texts=texts)


def typed(form: Form) -> TypedProvider:
    """The provider's settings that a form has sent."""
    errors: dict[str, str] = {}
    texts = {name: form.text(name) for name in shown(None).texts}
    settings = msgspec.structs.replace(EMPTY, **values_of(ROWS, form, errors))
    return TypedProvider(settings=settings, texts=texts, errors=errors)
