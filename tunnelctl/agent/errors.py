"""The exceptions of `Agent.add`, and of waiting for an agent that has ended."""

from tunnelctl.agent.outcome import Outcome, Trouble, TunnelEnd


class AddError(Exception):
    """The tunnel was not added; its name is free, and it is not served.

    Attributes:
        message: Description for display, one sentence without a full stop.
        hint: What the user can do; "" without a hint.
        error: The relay's name for the error; "" without one.
    """

    def __init__(self, message: str, hint: str = "", error: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.error = error


class DuplicateName(AddError):
    """The agent already has a tunnel with this name."""


class NotConnected(AddError):
    """There is no session with the relay, or it was lost before the relay answered."""


class NotBound(AddError):
    """The relay refused the tunnel.

    Attributes:
        end: The reason: `NameTaken`, `Invalid`, `NotAllowed`, `Failed`; or `Trouble` when a retry may succeed in a
            moment.
    """

    def __init__(self, end: TunnelEnd | Trouble) -> None:
        super().__init__(*((end.reason,) if isinstance(end, Trouble) else (end.message, end.hint, end.error)))
        self.end = end


class AgentEnded(Exception):
    """The agent has ended, and will not be online again.

    Attributes:
        outcome: How it ended.
    """

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(str(outcome))
        self.outcome = outcome
