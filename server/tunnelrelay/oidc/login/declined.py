"""Classifies a provider's error at the callback: caused by the visitor, the configuration or the provider. Does no I/O.

The registered errors are those of RFC 6749 section 4.1.2.1, OpenID Connect Core section 3.1.2.6, the error code
`unmet_authentication_requirements` of OpenID Connect, RFC 8707, RFC 9396, RFC 9449 and OpenID Federation 1.0. Providers
add codes of their own.
"""

import re
from dataclasses import dataclass

from tunnelrelay.pages.login import About, DeclinedCode


@dataclass(frozen=True, slots=True)
class Declined:
    """The meaning of an error code from a provider.

    Attributes:
        page: Code of the error page, from `pages.errors`.
        about: Key of the texts for the page, for `pages.login.declined`; "" for the default.
    """

    page: DeclinedCode
    about: About = ""

    @property
    def is_the_persons(self) -> bool:
        """Whether the visitor can fix the error, by trying again or with another account."""
        return self.page in ("access_denied", "login_unfinished")


DENIED = Declined("access_denied")
BUSY = Declined("provider_busy")
BROKEN = Declined("provider_error")
EXPIRED = Declined("login_unfinished", "expired")
_CANCELLED = Declined("login_unfinished", "cancelled")
_INTERACTION = Declined("login_unfinished", "interaction")
_STRENGTH = Declined("login_unfinished", "strength")
_CLIENT = Declined("login_misconfigured", "client")
_REQUEST = Declined("login_misconfigured", "request")

KNOWN: dict[str, Declined] = {
    # RFC 6749 section 4.1.2.1
    "access_denied": DENIED,
    "invalid_request": _REQUEST,
    "invalid_scope": Declined("login_misconfigured", "scope"),
    "server_error": BROKEN,
    "temporarily_unavailable": BUSY,
    "unauthorized_client": _CLIENT,
    "unsupported_response_type": _CLIENT,
    # OpenID Connect Core section 3.1.2.6
    "account_selection_required": Declined("login_unfinished", "account"),
    "consent_required": Declined("login_unfinished", "consent"),
    "interaction_required": _INTERACTION,
    "login_required": Declined("login_unfinished", "login"),
    "invalid_request_object": _REQUEST,
    "invalid_request_uri": _REQUEST,
    "registration_not_supported": _REQUEST,
    "request_not_supported": _REQUEST,
    "request_uri_not_supported": _REQUEST,
    # OpenID Connect Core Error Code unmet_authentication_requirements 1.0, and the equivalent code of RFC 9470
    "insufficient_user_authentication": _STRENGTH,
    "unmet_authentication_requirements": _STRENGTH,
    # RFC 8707, RFC 9396, RFC 9449, OpenID Federation 1.0, and errors of the token endpoint (RFC 6749 section 5.2)
    "invalid_authorization_details": _REQUEST,
    "invalid_client": _CLIENT,
    "invalid_dpop_proof": _REQUEST,
    "invalid_grant": EXPIRED,
    "invalid_target": _REQUEST,
    "invalid_trust_anchor": _CLIENT,
    "missing_trust_anchor": _CLIENT,
    "unsupported_grant_type": _CLIENT,
    "use_dpop_nonce": _REQUEST,
    "validation_failed": _CLIENT,
    # RFC 8628, whose codes some providers use here too
    "authorization_pending": _INTERACTION,
    "expired_token": EXPIRED,
    "slow_down": BUSY,
}
"""Maps error codes of OAuth and OpenID Connect, and of well-known providers, to their meanings."""

_SHAPES: tuple[tuple[re.Pattern[str], Declined], ...] = (
    (re.compile(r"cancel|abort|declined"), _CANCELLED),
    (re.compile(r"expired|time_?out|timed_?out"), EXPIRED),
    (re.compile(r"mfa|two_factor|2fa|step_?up|authentication_requirements"), _STRENGTH),
    (re.compile(r"consent|terms"), KNOWN["consent_required"]),
    (re.compile(r"redirect_uri|callback|mismatch|supported|malformed|^missing_"), _REQUEST),
    (re.compile(r"unavailable|overload|too_many|rate_?limit|throttl|maintenance|busy"), BUSY),
    (re.compile(r"scope|resource"), KNOWN["invalid_scope"]),
    (re.compile(r"client|application|tenant"), _CLIENT),
    (re.compile(r"denied|unauthori[sz]ed|forbidden|blocked|disabled|policy|not_allowed|account|user|^org_"), DENIED),
    (re.compile(r"_required$"), _INTERACTION),
    (re.compile(r"^invalid_|^bad_"), _REQUEST),
)
"""Patterns for the meaning of unknown error codes; the first match counts."""


def classify(error: str, description: str = "") -> Declined:
    """Return the meaning of an error code. An unknown code counts as an error of the provider.

    Args:
        description: The provider's `error_description`.
    """
    if is_expired_tab(error, description):
        return EXPIRED
    code = error.strip().lower()
    known = KNOWN.get(code)
    return known or next((what for shape, what in _SHAPES if shape.search(code)), BROKEN)


def is_expired_tab(error: str, description: str) -> bool:
    """Return whether this is Keycloak's error for an expired login page in one tab while the visitor signed in in
    another.

    Keycloak's documentation ("Keycloak specific errors") asks clients to send a new request at once.
    """
    return (error, description) == ("temporarily_unavailable", "authentication_expired")
