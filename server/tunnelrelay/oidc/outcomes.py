"""What a visitor sees at the ends of a login: redirects, and pages that say whose side it is on and whom to ask."""

import logging

from tunnelrelay.model import Field, Identity, Reply
from tunnelrelay.oidc.blobs import Handoff
from tunnelrelay.oidc.fetch import ProviderError
from tunnelrelay.pages.page import error_reply
from tunnelrelay.policy.rules import Connection, Refusal

log = logging.getLogger(__name__)

_PRIVATE: tuple[Field, ...] = (
    (b"Cache-Control", b"no-store"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"Vary", b"Cookie"),
)
"""A redirect of a login holds secrets in its address: no cache may keep it, no other site may be told of it."""


def redirect(location: str, fields: list[Field] | None = None) -> Reply:
    """303: the browser goes on with GET, whatever it sent (307 would send a form, or a password, along)."""
    return Reply(303, ((b"Location", location.encode("ascii")), *_PRIVATE, *(fields or ())))


def failed(code: str, host: str, request_id: str, fields: list[Field] | None = None) -> Reply:
    """The page of an error without anything to add."""
    return error_reply(code, request_id=request_id, host=host, wants_html=True, fields=tuple(fields or ()))


def declined(handoff: Handoff, connection: Connection, request_id: str, fields: list[Field]) -> Reply:
    """The provider said no: `access_denied` when it was about the person, else a provider's fault.

    Its own words are shown as text and never as a link: they are whatever the owner's provider chose to write.
    """
    is_about_person = handoff.error == "access_denied"
    words = f"It said: {handoff.description or handoff.error}"
    detail = f"You were sent to {connection.issuer} to sign in. {words}"
    log.info("login declined by the provider: host=%s request=%s error=%r", handoff.host, request_id, handoff.error)
    return error_reply(
        "access_denied" if is_about_person else "provider_error",
        request_id=request_id,
        host=handoff.host,
        wants_html=True,
        detail=detail,
        fields=tuple(fields),
    )


def not_admitted(identity: Identity, refusal: Refusal, host: str, request_id: str, fields: list[Field]) -> Reply:
    """No rule lets this person in: says who they signed in as, so that a wrong account is told from no access."""
    who = identity.email or identity.name or identity.subject
    detail = f"You signed in as {who} at {identity.issuer}."
    if refusal.reason == "email_unverified":
        detail += " That account has no verified e-mail address, and this endpoint goes by e-mail."
    log.info("login not admitted: host=%s request=%s rule=%s", host, request_id, refusal.reason)
    return error_reply(
        "not_admitted", request_id=request_id, host=host, wants_html=True, detail=detail, fields=tuple(fields)
    )


def provider_failed(error: ProviderError, host: str, request_id: str, fields: list[Field] | None = None) -> Reply:
    """The provider could not be used. The visitor learns only which kind it was; our log has the rest."""
    log.warning("login failed at the provider: host=%s request=%s reason=%s", host, request_id, error.detail)
    code = "provider_unreachable" if error.kind == "unreachable" else "provider_error"
    return failed(code, host, request_id, fields)
