"""Why a tunnel could not be added to an agent, as `Agent.add` raises it."""

from tunnelctl.agent.outcome import Outcome, Trouble, TunnelEnd


class AddError(Exception):
    """The tunnel was not added; its name is free, and nothing is served.

    Attributes:
        message: For people, one sentence without a full stop.
        hint: What to do about it, "" when nothing comes to mind.
        error: The relay's name for the error, "" without one.
    """

    def __init__(self, message: str, hint: str = "", error: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.error = error


class DuplicateName(AddError):
    """The agent has a tunnel of this name."""


class NotConnected(AddError):
    """There is no session with the relay, or it was lost before the relay answered."""


class NotBound(AddError):
    """The relay did not take the tunnel.

    Attributes:
        end: Why: `NameTaken`, `Invalid`, `NotAllowed`, `Failed`; or `Trouble` when it may take it in a moment.
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
