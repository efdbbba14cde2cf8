"""The errors of a run: one class for each cause, each with the exit code with which a command reports it."""

from typing import ClassVar, Literal, assert_never

from tunnelctl.agent.outcome import (
    AllEnded,
    Failed,
    Invalid,
    NameTaken,
    NoRelay,
    NotAllowed,
    Outcome,
    Stopped,
    Unreachable,
)

Stage = Literal["app", "agent", "ingress", "login"]
"""The part that is not ready: the local app, the agent's link, the public address, or the rules of the endpoint."""


class TunnelError(Exception):
    """The app cannot be served, or was not served for the whole run.

    Attributes:
        message: Description for display, one sentence without a full stop.
        hint: What the user can do; "" without a hint.
        exit_code: Exit code of a command that fails with this error.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Return the message and the hint."""
        return f"{self.message} (hint: {self.hint})" if self.hint else self.message


class RelayUnreachable(TunnelError):
    """No relay answers at the address."""

    exit_code = 110


class CredentialRefused(TunnelError):
    """The relay does not accept the credential, or the credential may not serve this name."""

    exit_code = 111


class AddressTaken(TunnelError):
    """Another owner has the name, or another agent took it over during the run."""

    exit_code = 112


class NotReady(TunnelError):
    """The app did not answer at its public address in time.

    Attributes:
        stage: The part that was not ready.
    """

    exit_code = 113

    def __init__(self, stage: Stage, message: str, hint: str = "") -> None:
        super().__init__(f"{stage}: {message}", hint)
        self.stage = stage


class TunnelLost(TunnelError):
    """The link to the relay was lost during the run, and not back in time."""

    exit_code = 114


class NoHits(TunnelError):
    """Fewer requests than required reached the app."""

    exit_code = 115


class SettingsRefused(TunnelError, ValueError):
    """The settings are invalid."""

    exit_code = 116


class AppEnded(TunnelError):
    """The app's own command ended before the run did."""

    exit_code = 117


class RunRefused(TunnelError):
    """The endpoint does not let the token of the run in."""

    exit_code = 118


def error_of(outcome: Outcome, relay: str) -> TunnelError | None:
    """Return the error for the way in which an agent with one tunnel ended; None when it was asked to stop.

    Args:
        relay: URL of the relay, for the message.
    """
    match outcome:
        case Stopped():
            return None
        case NotAllowed(message, hint):
            return CredentialRefused(f"the relay {relay} refuses the credential: {message}", hint)
        case NameTaken(message, hint):
            return AddressTaken(message, hint)
        case Invalid(message, hint):
            return SettingsRefused(f"the relay cannot do what was asked: {message}", hint)
        case NoRelay(message, hint):
            return RelayUnreachable(f"{relay} is no relay: {message}", hint)
        case Unreachable(message, hint):
            return RelayUnreachable(f"the relay {relay} cannot be reached: {message}", hint)
        case Failed(message, hint):
            return NotReady("agent", f"the relay {relay} refused: {message}", hint)
        case AllEnded():
            raise AssertionError("an agent with one tunnel ends as its tunnel does")
        case _:
            assert_never(outcome)
