"""The form of an edge's OpenID login: from what is kept to what is typed, and back. Pure.

What the form does not show (request parameters, audiences, origins) stays as it is. The client secret is written only:
it never comes back into the form, not even after a mistake elsewhere in it.
"""

from dataclasses import dataclass, field

import msgspec

from tunnelctl.policy.named import is_named
from tunnelctl.wire.messages import OidcSpec
from tunnelrelay.dashboard import durations
from tunnelrelay.dashboard.form import Form

EMPTY = OidcSpec(issuer="", client_id="", client_secret="")
OWN = ""
"""The choice of a provider that has no name here."""
DURATIONS = {
    "inactivity_timeout": "idle_seconds",
    "maximum_duration": "max_seconds",
    "auth_check_interval": "recheck_seconds",
}
"""Names of the fields, which are those of problems too, and what they are in an `OidcSpec`."""
FOLDED = frozenset({"groups_claim", "email_verified", "on_recheck_error", "require_acr"})
"""Fields that are folded away while nothing is wrong with them."""
SHOWN = frozenset(
    {
        *("provider", "issuer", "client_id", "client_secret", "scopes"),
        *("allow_emails", "allow_domains", "allow_groups", "allow_claims"),
        *FOLDED,
        *DURATIONS,
    }
)
"""Fields that have a place for what is wrong with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedLogin:
    """What a user has typed.

    Attributes:
        oidc: The login it comes to; with its secret.
        texts: The fields as they are to be shown again.
        errors: What makes no sense by itself, by field.
    """

    oidc: OidcSpec
    texts: dict[str, str]
    errors: dict[str, str] = field(default_factory=dict)


def shown(oidc: OidcSpec | None) -> dict[str, str]:
    """The fields for a login that is kept, or for none yet."""
    spec = oidc or EMPTY
    has_name = is_named(spec.issuer)
    return {
        "provider": spec.issuer if has_name else OWN,
        "issuer": "" if has_name else spec.issuer,
        "client_id": spec.client_id,
        "scopes": " ".join(spec.scopes),
        "allow_emails": "\n".join(spec.allow_emails),
        "allow_domains": "\n".join(spec.allow_domains),
        "allow_groups": "\n".join(spec.allow_groups),
        "allow_claims": "\n".join(f"{name}={value}" for name, value in spec.allow_claims),
        "require_acr": " ".join(spec.require_acr),
        "groups_claim": spec.groups_claim,
        "email_verified": spec.email_verified,
        "on_recheck_error": spec.on_recheck_error,
        **{name: durations.text(getattr(spec, part)) for name, part in DURATIONS.items()},
    }


def typed(form: Form, kept: OidcSpec | None) -> TypedLogin:
    """What a form has sent.

    Args:
        kept: The login it changes.
    """
    texts = {name: form.text(name) for name in shown(None)}
    errors: dict[str, str] = {}
    seconds = {part: _seconds(texts[name], name, errors) for name, part in DURATIONS.items()}
    claims = [_claim(line, errors) for line in form.lines("allow_claims")]
    rules = {
        "allow_emails": form.lines("allow_emails"),
        "allow_domains": form.lines("allow_domains"),
        "allow_groups": form.lines("allow_groups"),
        "allow_claims": tuple(claim for claim in claims if claim is not None),
        "require_acr": form.words("require_acr"),
        "on_recheck_error": texts["on_recheck_error"] or EMPTY.on_recheck_error,
        **seconds,
    }
    if texts["provider"] != OWN:
        base = kept if kept is not None and kept.issuer == texts["provider"] else EMPTY
        oidc = msgspec.structs.replace(base, issuer=texts["provider"], **rules)
    else:
        base = kept if kept is not None and not is_named(kept.issuer) else EMPTY
        oidc = msgspec.structs.replace(
            base,
            issuer=texts["issuer"],
            client_id=texts["client_id"],
            client_secret=form.secret("client_secret"),
            scopes=form.words("scopes"),
            groups_claim=texts["groups_claim"] or EMPTY.groups_claim,
            email_verified=texts["email_verified"] or EMPTY.email_verified,
            **rules,
        )
    return TypedLogin(oidc=oidc, texts=texts, errors=errors)


def _seconds(text: str, name: str, errors: dict[str, str]) -> int:
    seconds = durations.parse(text)
    if seconds is None:
        errors[name] = "a time such as 30m, 8h or 1h 30m"
    return seconds or 0


def _claim(line: str, errors: dict[str, str]) -> tuple[str, str] | None:
    name, equals, value = line.partition("=")
    if not (name.strip() and equals and value.strip()):
        errors["allow_claims"] = f"{line[:80]!r} is no name=value"
        return None
    return name.strip(), value.strip()
