"""How a login can end besides a session, each logged once: redirects, and pages that say whose side it is on."""

import logging

from tunnelctl.oidc.errors import ProviderError
from tunnelrelay.model import Field, Identity, Reply
from tunnelrelay.oidc.asking import Asking
from tunnelrelay.oidc.blobs import Handoff
from tunnelrelay.pages import login as pages
from tunnelrelay.pages.page import Form
from tunnelrelay.policy.rules import Refusal

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


def declined(handoff: Handoff, owner: str, request_id: str, fields: list[Field]) -> Reply:
    """The provider said no: `access_denied` is about the person and says whom to ask, all else is its own fault."""
    log.info("login declined by the provider: host=%s request_id=%s error=%r", handoff.host, request_id, handoff.error)
    return pages.provider_error(
        request_id=request_id,
        host=handoff.host,
        error=handoff.error,
        description=handoff.description,
        owner=owner,
        fields=tuple(fields),
    )


def not_admitted(
    identity: Identity, refusal: Refusal, asking: Asking, owner: str, form: Form, fields: list[Field]
) -> Reply:
    """No rule lets this person in: says who they signed in as, so that a wrong account is told from no access."""
    who = identity.email or identity.name or identity.subject
    log.info("login not admitted: host=%s request_id=%s rule=%s", asking.host, asking.request_id, refusal.reason)
    return pages.not_admitted(
        request_id=asking.request_id,
        host=asking.host,
        who=who,
        owner=owner,
        is_unverified=refusal.reason == "email_unverified",
        form=form,
        fields=tuple(fields),
    )


def provider_failed(
    error: ProviderError, host: str, request_id: str, *, owner: str = "", fields: list[Field] | None = None
) -> Reply:
    """The provider could not be used. The visitor learns only which kind it was; our log has the rest."""
    log.warning("login failed at the provider: host=%s request_id=%s reason=%s", host, request_id, error.detail)
    if error.kind == "unreachable":
        return pages.provider_unreachable(request_id=request_id, host=host, fields=tuple(fields or ()))
    return pages.provider_error(request_id=request_id, host=host, owner=owner, fields=tuple(fields or ()))
