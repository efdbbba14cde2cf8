"""The one error about providers."""

from typing import Literal

ErrorKind = Literal["unreachable", "invalid", "refused", "untrusted"]


class ProviderError(Exception):
    """The provider cannot be used for this login.

    Attributes:
        kind: `unreachable` (no answer), `invalid` (an answer that will not do), `refused` (the relay's own rules do not
            let it be called) or `untrusted` (its certificate is of an authority that the relay does not know). All that
            outsiders learn where it is `unreachable`: finer words would tell a tenant which inner addresses exist.
        detail: What was wrong, for our log and the operator; never a secret, token or code.
    """

    def __init__(self, kind: ErrorKind, detail: str) -> None:
        super().__init__(detail)
        self.kind: ErrorKind = kind
        self.detail = detail
