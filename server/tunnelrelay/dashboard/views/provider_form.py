"""The form of a named provider: from what is kept to what is typed, and back. Pure.

The client secret is written only: it never comes back into the form, not even after a mistake elsewhere in it.
"""

from dataclasses import dataclass, field

from tunnelrelay.dashboard.form import Form
from tunnelrelay.services.provider_settings import ProviderSettings
from tunnelrelay.services.providers import ProviderView

EMPTY = ProviderSettings(issuer="", client_id="")
FOLDED = frozenset({"groups_claim", "email_verified", "callback", "request_params"})
"""Fields that are folded away while nothing is wrong with them."""
SHOWN = frozenset({"name", "description", "issuer", "client_id", "client_secret", "scopes", "owners", *FOLDED})
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
        "issuer": settings.issuer,
        "client_id": settings.client_id,
        "scopes": " ".join(settings.scopes),
        "groups_claim": settings.groups_claim,
        "email_verified": settings.email_verified,
        "callback": settings.callback,
        "request_params": "\n".join(f"{name}={value}" for name, value in settings.request_params),
    }
    return TypedProvider(settings=settings, texts=texts)


def typed(form: Form) -> TypedProvider:
    """What a form has sent."""
    errors: dict[str, str] = {}
    texts = {name: form.text(name) for name in shown(None).texts}
    settings = ProviderSettings(
        issuer=texts["issuer"],
        client_id=texts["client_id"],
        scopes=form.words("scopes"),
        groups_claim=texts["groups_claim"] or EMPTY.groups_claim,
        email_verified=texts["email_verified"] or EMPTY.email_verified,
        callback=texts["callback"] or EMPTY.callback,
        request_params=_pairs(texts["request_params"], errors),
    )
    return TypedProvider(settings=settings, texts=texts, errors=errors)


def _pairs(text: str, errors: dict[str, str]) -> tuple[tuple[str, str], ...]:
    pairs = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, equals, value = line.partition("=")
        if not (name.strip() and equals and value.strip()):
            errors["request_params"] = f"{line[:80]!r} is no name=value"
        pairs.append((name.strip(), value.strip()))
    return tuple(pairs)
