"""The exception with which a service refuses a request. Its kind is the HTTP status that API and dashboard use."""

from enum import Enum


class Kind(Enum):
    """The kinds of refusals. The values are HTTP statuses."""

    INVALID = 400
    """The request is invalid; `fields` names the wrong fields."""
    FORBIDDEN = 403
    """The actor's role or scopes forbid the request. Used for kinds of resources only, never for a single one: see
    MISSING."""
    MISSING = 404
    """The resource does not exist, or the actor may not see it: both give the same error, so that it reveals
    nothing."""
    CONFLICT = 409
    """There is a conflict: the name is taken, the resource is in use, or another user changed it meanwhile."""
    BUSY = 429
    """The actor, or the actor's address, has tried this too often."""
    AWAY = 503
    """The store or a provider is unavailable at the moment."""


class ManageError(Exception):
    """A service refused a request, or could not execute it. The texts are for users and contain no secret.

    Attributes:
        code: Short, stable code for programs; documented in docs/reference/api.md.
        hint: What the user can do; "" when the message implies it.
        fields: Problems with single fields, by their names in the API (`oidc.issuer`).
        retry_after: Seconds after which a retry may work, for BUSY and AWAY.
    """

    def __init__(
        self,
        kind: Kind,
        code: str,
        message: str,
        hint: str = "",
        fields: dict[str, str] | None = None,
        retry_after: int = 5,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.code = code
        self.message = message
        self.hint = hint
        self.fields = fields or {}
        self.retry_after = retry_after


def missing(what: str) -> ManageError:
    """Return the error for a resource that does not exist, or that the actor may not see."""
    return ManageError(Kind.MISSING, "not_found", f"There is no such {what}.")


def invalid(fields: dict[str, str], hint: str = "") -> ManageError:
    """Return the error for invalid fields."""
    message = "; ".join(f"{name}: {problem}" for name, problem in fields.items())
    return ManageError(Kind.INVALID, "invalid", message, hint, fields)


def changed_meanwhile(what: str) -> ManageError:
    """Return the error for a row that another user changed between reading and writing."""
    return ManageError(
        Kind.CONFLICT, "changed_meanwhile", f"This {what} was changed by another user meanwhile.", "Try again."
    )
