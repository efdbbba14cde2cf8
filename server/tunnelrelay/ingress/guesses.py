"""Limits wrong passwords of visitors, by address and endpoint.

Guesses thus lock out no person at another address or endpoint. While an address must wait, the right password is
refused too: otherwise the limit would not slow a guesser down.
"""

import time
from collections.abc import Callable

from tunnelctl.bounds import DeclaredBound
from tunnelrelay.policy.limits import KEY_BYTES, Buckets, address_key

BURST_GUESSES, GUESSES_PER_SECOND = 20, 0.1
"""A browser that still has an old password shows it a few times at once; a person who tries what they remember types
less than ten a minute. A guesser has 8,700 tries a day from one address, and needs 65,000 years for 26**8 passwords."""

BOUNDS = (
    DeclaredBound(
        name="wrong passwords at one endpoint",
        limit=BURST_GUESSES,
        unit="at once, one in 10 seconds after",
        per="address",
        when_full="429 with Retry-After, also for the right one",
        worst_bytes=KEY_BYTES,
        holds=("Guesses._wrong",),
    ),
)


class Guesses:
    """Counts wrong passwords by address and endpoint.

    Args:
        monotonic: Seconds.
    """

    __slots__ = ("_monotonic", "_wrong")

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._wrong = Buckets(BURST_GUESSES, GUESSES_PER_SECOND)

    def must_wait(self, peer: str, host: str) -> bool:
        """Whether this address has guessed too often here."""
        if not self._wrong:
            return False
        whose = _whose(peer, host)
        return bool(whose) and self._wrong.is_empty(whose, self._monotonic())

    def seconds(self, peer: str, host: str) -> int:
        """Seconds until an address that must wait may try again."""
        return self._wrong.wait(_whose(peer, host), self._monotonic())

    def wrong(self, peer: str, host: str) -> None:
        """Count a wrong password."""
        if whose := _whose(peer, host):
            self._wrong.wait(whose, self._monotonic())


def _whose(peer: str, host: str) -> str:
    """The key of a limit: address and endpoint; "" for addresses that are not limited."""
    address = address_key(peer)
    return f"{address} {host}" if address else ""
