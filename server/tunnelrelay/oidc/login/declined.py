"""Classifies a provider's error at the callback: caused by the visitor, the setup or the provider. Pure.

The registered errors are those of RFC 6749 section 4.1.2.1, OpenID Connect Core section 3.1.2.6, the error code
`unmet_authentication_requirements` of OpenID Connect, RFC 8707, RFC 9396, RFC 9449 and OpenID Federation 1.0. Providers
add codes of their own.
"""

import re
from dataclasses import dataclass

from tunnelrelay.pages.login import About, DeclinedCode


@dataclass(frozen=True, slots=True)
class Declined:
    """The meaning of one error code.

    Attributes:
        page: The page to show: an error's code in `pages.errors`.
        about: Which of its texts fits, as `pages.login.declined` takes it; "" for the default.
    """

    page: DeclinedCode
    about: About = ""

    @property
    def is_the_persons(self) -> bool:
        """Whether the visitor can fix it, by trying again or with another account."""
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
    # OpenID Connect Core Error Code unmet_authentication_requirements 1.0, and RFC 9470's word for it
    "insufficient_user_authentication": _STRENGTH,
    "unmet_authentication_requirements": _STRENGTH,
    # RFC 8707, RFC 9396, RFC 9449, OpenID Federation 1.0, and the token endpoint's own (RFC 6749 section 5.2)
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
    # RFC 8628, where a provider uses its words here too
    "authorization_pending": _INTERACTION,
    "expired_token": EXPIRED,
    "slow_down": BUSY,
}
"""Errors by their code."""

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
"""What the words of a code that is in no list most likely mean; the first that fits."""


def classify(error: str, description: str = "") -> Declined:
    """Return what an error code means. An unknown code counts as the provider's fault.

    Args:
        description: The provider's `error_description`.
    """
    if is_expired_tab(error, description):
        return EXPIRED
    code = error.strip().lower()
    known = KNOWN.get(code)
    return known or next((what for shape, what in _SHAPES if shape.search(code)), BROKEN)


def is_expired_tab(error: str, description: str) -> bool:
    """Whether Keycloak says that its login page in this tab is too old, while the visitor has signed in in another.

    Its documentation ("Keycloak specific errors") asks clients to send a new request at once.
    """
    return (error, description) == ("temporarily_unavailable", "authentication_expired")
