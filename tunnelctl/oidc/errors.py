"""The exception for failures of an OpenID provider."""

from typing import Literal

ErrorKind = Literal["unreachable", "invalid", "refused", "untrusted"]


class ProviderError(Exception):
    """The provider cannot be used for this login.

    Attributes:
        kind: `unreachable` (no response), `invalid` (an unacceptable response), `refused` (the relay's own rules forbid
            calling it) or `untrusted` (its certificate's authority is unknown to the relay). For `unreachable`,
            outsiders learn only this word: details would tell a tenant which internal addresses exist.
        detail: Description of the failure for our log and the operator; never contains a secret, token or code.
    """

    def __init__(self, kind: ErrorKind, detail: str) -> None:
        super().__init__(detail)
        self.kind: ErrorKind = kind
        self.detail = detail
