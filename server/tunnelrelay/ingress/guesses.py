"""Limits wrong passwords of basic authentication, by client address and endpoint.

So guesses do not lock out people at other addresses or endpoints. While an address must wait, the right password is
refused too: otherwise the limit would not slow guessing down.
"""

import time
from collections.abc import Callable

from tunnelctl.bounds import DeclaredBound
from tunnelrelay.policy.limits import KEY_BYTES, Buckets, address_key

BURST_GUESSES, GUESSES_PER_SECOND = 20, 0.1
"""Wrong passwords that an address may send to one endpoint at once, and per second after that. A browser with an old
password sends it a few times at once; a person types fewer than ten a minute. An attacker has 8,700 tries a day from
one address, and needs 65,000 years for 26**8 passwords."""

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
    """Counts wrong passwords by client address and endpoint.

    Args:
        monotonic: Returns monotonic seconds.
    """

    __slots__ = ("_monotonic", "_wrong")

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._wrong = Buckets(BURST_GUESSES, GUESSES_PER_SECOND)

    def must_wait(self, peer: str, host: str) -> bool:
        """Whether an address has sent too many wrong passwords to this host, and must wait."""
        if not self._wrong:
            return False
        whose = _whose(peer, host)
        return bool(whose) and self._wrong.is_empty(whose, self._monotonic())

    def seconds(self, peer: str, host: str) -> int:
        """Return the seconds until an address that must wait may try a password at this host again."""
        return self._wrong.wait(_whose(peer, host), self._monotonic())

    def wrong(self, peer: str, host: str) -> None:
        """Count a wrong password from an address at this host."""
        if whose := _whose(peer, host):
            self._wrong.wait(whose, self._monotonic())


def _whose(peer: str, host: str) -> str:
    """Return the key under which an address's wrong passwords at a host are counted; "" for addresses without limit."""
    address = address_key(peer)
    return f"{address} {host}" if address else ""
