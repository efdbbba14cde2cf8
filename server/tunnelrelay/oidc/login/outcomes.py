"""The outcomes of a login: the visitor's page, the log entry, and the metric. Each is logged once."""

from dataclasses import dataclass
from typing import Literal, assert_never

from tunnelctl.eventlog import EventLog
from tunnelctl.oidc.errors import ProviderError
from tunnelrelay.model import Field, Identity, Reply
from tunnelrelay.oidc.login.declined import classify
from tunnelrelay.oidc.login.sealed_state import Handoff
from tunnelrelay.oidc.login.visitor_request import VisitorRequest
from tunnelrelay.pages import login as pages
from tunnelrelay.pages.page import FormButton
from tunnelrelay.policy.rules import Refusal

log = EventLog(__name__)

Outcome = Literal["started", "ok", "denied", "failed"]
"""`started`: redirected to the provider. `ok`: signed in. `denied`: refused by the provider or the rules. `failed`: any
error."""

_PRIVATE: tuple[Field, ...] = (
    (b"Cache-Control", b"no-store"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"Vary", b"Cookie"),
)
"""Header fields for redirects of a login, whose URLs contain secrets: no cache may store them, no Referer may contain
them."""


@dataclass(frozen=True, slots=True)
class LoginEnd:
    """The result of one step of a login: the response, and what to count and log.

    Attributes:
        who: The person who signed in at the provider; None for none.
        refusal: Kind of rule that refused the person (`Refusal.reason`); "" for none.
    """

    reply: Reply
    outcome: Outcome
    who: Identity | None = None
    refusal: str = ""


def redirect(location: str, fields: list[Field] | None = None) -> Reply:
    """Return a 303 redirect: the browser always continues with GET (307 would send a form, or a password, along)."""
    return Reply(303, ((b"Location", location.encode("ascii")), *_PRIVATE, *(fields or ())))


def declined(handoff: Handoff, owner: str, request_id: str, form: FormButton | None, fields: list[Field]) -> LoginEnd:
    """Return the page for a provider's error: what happened, what caused it, and what to do.

    Args:
        form: Button to sign in with another account, if possible.
    """
    what = classify(handoff.error, handoff.description)
    log.info(
        "login declined by the provider", host=handoff.host, request_id=request_id, error=handoff.error, page=what.page
    )
    page = pages.declined(
        what.page,
        what.about,
        request_id=request_id,
        host=handoff.host,
        path=handoff.return_path,
        error=handoff.error,
        description=handoff.description,
        owner=owner,
        form=form if what.is_the_persons else None,
        fields=tuple(fields),
    )
    return LoginEnd(page, "denied" if what.page == "access_denied" else "failed")


def not_admitted(
    identity: Identity, refusal: Refusal, request: VisitorRequest, owner: str, form: FormButton, fields: list[Field]
) -> LoginEnd:
    """Return the page for a person whom the rules refuse.

    It names the account, so that the visitor notices a wrong one.
    """
    who = identity.email or identity.name or identity.subject
    page = pages.not_admitted(
        request_id=request.request_id,
        host=request.host,
        who=who,
        owner=owner,
        is_unverified=refusal.reason == "email_unverified",
        form=form,
        fields=tuple(fields),
    )
    return LoginEnd(page, "denied", identity, refusal.reason)


def provider_failed(
    error: ProviderError, request: VisitorRequest, path: str, *, owner: str = "", fields: list[Field] | None = None
) -> LoginEnd:
    """Return the page for a provider that cannot be used. It shows only the kind of failure; the log has the details.

    Args:
        path: The path that the visitor wanted to open.
    """
    host, request_id, more = request.host, request.request_id, tuple(fields or ())
    log.warning("login failed at the provider", host=host, request_id=request_id, reason=error.detail)
    match error.kind:
        case "unreachable":
            page = pages.provider_unreachable(request_id=request_id, host=host, path=path, fields=more)
        case "refused" | "untrusted":
            page = pages.declined(
                "login_misconfigured",
                error.kind,
                request_id=request_id,
                host=host,
                path=path,
                owner=owner,
                fields=more,
            )
        case "invalid":
            page = pages.declined(
                "provider_error", request_id=request_id, host=host, path=path, owner=owner, fields=more
            )
        case _:
            assert_never(error.kind)
    return LoginEnd(page, "failed")
