"""Why a service refused a request: one exception with a kind, which the API and the dashboard show."""

from enum import Enum


class Kind(Enum):
    """What went wrong, with its HTTP status."""

    INVALID = 400
    """What was asked for makes no sense; `fields` says where."""
    FORBIDDEN = 403
    """The actor's role or scopes do not allow it. Only for kinds of things, never for one thing: see MISSING."""
    MISSING = 404
    """There is no such thing, or none that the actor may know of: the two must not be told apart (row 138)."""
    CONFLICT = 409
    """Something else is in the way: the name is taken, the thing is in use, or another user changed it meanwhile."""
    BUSY = 429
    """The actor, or their address, has tried this too often."""
    AWAY = 503
    """The store or a provider cannot be asked at the moment."""


class ManageError(Exception):
    """A service refused a request, or could not do it. The texts are for people and hold no secret.

    Attributes:
        code: Short, stable, for programs; documented in docs/reference/api.md.
        hint: What to do about it; "" when the message implies it.
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
    """The error for a thing that does not exist, or that the actor may not see."""
    return ManageError(Kind.MISSING, "not_found", f"There is no such {what}.")


def invalid(fields: dict[str, str], hint: str = "") -> ManageError:
    """The error for invalid fields."""
    message = "; ".join(f"{name}: {problem}" for name, problem in fields.items())
    return ManageError(Kind.INVALID, "invalid", message, hint, fields)


def changed_meanwhile(what: str) -> ManageError:
    """The error for a row that another user changed between reading and writing."""
    return ManageError(
        Kind.CONFLICT, "changed_meanwhile", f"This {what} was changed by another user meanwhile.", "Try again."
    )
