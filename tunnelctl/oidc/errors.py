"""The one error about providers."""

from typing import Literal


class ProviderError(Exception):
    """The provider cannot be used for this login.

    Attributes:
        kind: `unreachable` (no answer), or `invalid` (an answer that will not do). All that outsiders learn: finer
            words would tell a tenant which inner addresses exist.
        detail: What was wrong, for our log and the operator; never a secret, token or code.
    """

    def __init__(self, kind: Literal["unreachable", "invalid"], detail: str) -> None:
        super().__init__(detail)
        self.kind: Literal["unreachable", "invalid"] = kind
        self.detail = detail
