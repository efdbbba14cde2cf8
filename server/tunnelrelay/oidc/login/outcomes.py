"""The outcomes of a login: the visitor's page, the cause, and its metric. Each is logged once."""

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
"""Sent to the provider; on into the app; not let in by the provider or the rules; anything else."""

_PRIVATE: tuple[Field, ...] = (
    (b"Cache-Control", b"no-store"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"Vary", b"Cookie"),
)
"""A redirect of a login holds secrets in its address: no cache may keep it, no other site may be told of it."""


@dataclass(frozen=True, slots=True)
class LoginEnd:
    """The result of one step of a login: the reply, and what to count and log.

    Attributes:
        who: Who signed in at the provider; None for no one.
        refusal: The kind of rule that refused them (`Refusal.reason`); "" for none.
    """

    reply: Reply
    outcome: Outcome
    who: Identity | None = None
    refusal: str = ""


def redirect(location: str, fields: list[Field] | None = None) -> Reply:
    """303: the browser goes on with GET, whatever it sent (307 would send a form, or a password, along)."""
    return Reply(303, ((b"Location", location.encode("ascii")), *_PRIVATE, *(fields or ())))


def declined(handoff: Handoff, owner: str, request_id: str, form: FormButton | None, fields: list[Field]) -> LoginEnd:
    """The page for a provider's error answer: what happened, who caused it, and what to do.

    Args:
        form: How to sign in with another account, where that is possible.
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
    """The page for a person whom no rule admits. It names the account, so that a visitor notices a wrong one."""
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
    """The page for a provider that could not be used. The visitor learns only the kind of failure; our log has the
    rest.

    Args:
        path: Where the visitor wanted to go.
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
