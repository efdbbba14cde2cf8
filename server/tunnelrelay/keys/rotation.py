"""Rotates the relay's keys: creates new keys in time, drops old ones, and reads changes made by other processes.

    keys.json        ----+60 s----> seals ---------- next one seals ----30 days----> dropped
                     opens from the start to the end
    assertion.json   ----24 h-----> signs ---------- next one signs ----24 h-------> dropped
                     published from the start to the end

Every relay that shares the files reads them every few seconds, so that a key is known to all relays long before any of
them uses it. Changes are made under the file's lock, to the file's content at that moment: if two relays find a key too
old at the same time, the second one finds the new key of the first.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

from tunnelctl.eventlog import EventLog
from tunnelrelay.keys.assertion import FILE_NAME, AssertionSigner, SigningKeys
from tunnelrelay.keys.key_files import KeyFile, SecretFileError
from tunnelrelay.keys.keyring import KeyRefused, KeyRing
from tunnelrelay.observe.audit import Audit

log = EventLog(__name__)

POLL_EVERY = 5.0
"""Seconds between two checks of the files: far below the minute after which a new key seals."""
RETRY_SECONDS = 600.0
"""Seconds before another try when a file cannot be written (a read-only mount), to keep the log short."""


class Rotates(Protocol):
    """Interface of key rings and signing keys for rotation: immutable values whose methods return a changed copy."""

    def dump(self) -> bytes:
        """Return the content for the key file."""

    def is_due(self, now: float, every: float) -> bool:
        """Return whether it is time for a new key."""

    def with_new_key(self, now: float) -> Self:
        """Return these keys and a new one."""

    def without(self, kid: str) -> Self:
        """Return these keys without the one with this id."""

    def without_aged(self, now: float) -> Self:
        """Return these keys without those that are no longer needed."""


_Keys = TypeVar("_Keys", bound=Rotates)


@dataclass(frozen=True, slots=True, kw_only=True)
class RotatedKeys(Generic[_Keys]):
    """A key file, with the functions that use its keys.

    Attributes:
        use: Purpose of the keys in audit events: `seal` or `sign`.
        live: Returns the keys in use.
        adopt: Replaces the keys in use.
        kids: Returns the ids of the given keys.
    """

    use: str
    file: KeyFile[_Keys]
    live: Callable[[], _Keys]
    adopt: Callable[[_Keys], None]
    kids: Callable[[_Keys], frozenset[str]]


class RelayKeys:
    """The keys of a relay and their rotation. The owner runs `run` as a task.

    Args:
        keys_file: Path of the key ring; the signing keys are stored beside it. Both files are created when missing.
        issuer: The relay's own address, for assertions.
        every: Maximum age of the newest key in seconds; 0 for no new keys.
        clock: Function that returns Unix time.

    Raises:
        SecretFileError: A file cannot be read or created.

    Attributes:
        ring: Seals and opens blobs.
        signer: Signs assertions.
    """

    def __init__(self, keys_file: Path, *, issuer: str, every: float, clock: Callable[[], float]) -> None:
        ring_file, signing_file = KeyRing.file(keys_file, clock=clock), SigningKeys.file(keys_file.with_name(FILE_NAME))
        self.ring = ring = ring_file.load_or_create()
        self.signer = signer = AssertionSigner(signing_file.load_or_create(), issuer=issuer)
        self._seal = RotatedKeys(use="seal", file=ring_file, live=lambda: ring, adopt=ring.adopt, kids=ring_kids)
        self._sign = RotatedKeys(
            use="sign", file=signing_file, live=lambda: signer.keys, adopt=signer.adopt, kids=signing_kids
        )
        self._every = every
        self._clock = clock
        self._next_try = {"seal": 0.0, "sign": 0.0}

    async def run(self, audit: Audit) -> None:
        """Rotate and re-read the keys every few seconds, until cancelled."""
        while True:
            await self.step(audit)
            await asyncio.sleep(POLL_EVERY)

    async def step(self, audit: Audit) -> None:
        """Read both files again, and rotate their keys when due."""
        await self._look_after(self._seal, audit)
        await self._look_after(self._sign, audit)

    async def _look_after(self, kept: RotatedKeys[_Keys], audit: Audit) -> None:
        now = self._clock()
        try:
            found = kept.file.reload()
            if found is not None:
                log.info("keys reloaded", file=kept.file.path.name, keys=len(kept.kids(found)))
                kept.adopt(found)
        except SecretFileError as error:
            log.error("keys not reloaded, the old ones stay", error=error)
            return
        if now >= self._next_try[kept.use] and is_untended(kept.live(), now, self._every):
            await self._change(kept, now, audit)

    async def _change(self, kept: RotatedKeys[_Keys], now: float, audit: Audit) -> None:
        """Change a key file in a thread, as another process may hold its lock."""
        try:
            before, after = await asyncio.to_thread(kept.file.change, lambda keys: tended(keys, now, self._every))
            kept.adopt(after)
        except (SecretFileError, KeyRefused) as error:
            self._next_try[kept.use] = now + RETRY_SECONDS
            log.error("keys not rotated, retrying", error=error)
            return
        for kid in sorted(kept.kids(after) - kept.kids(before)):
            audit.record("keys.rotated", reason="due", use=kept.use, kid=kid)
        for kid in sorted(kept.kids(before) - kept.kids(after)):
            audit.record("keys.dropped", reason="aged", use=kept.use, kid=kid)


def is_untended(keys: _Keys, now: float, every: float) -> bool:
    """Return whether `tended` would change the keys, without creating one (which fails when there are too many)."""
    return (every > 0 and keys.is_due(now, every)) or keys.without_aged(now).dump() != keys.dump()


def tended(keys: _Keys, now: float, every: float) -> _Keys:
    """Return the keys after rotation; the same keys when none is due."""
    kept = keys.without_aged(now)
    return kept.with_new_key(now) if every and kept.is_due(now, every) else kept


def ring_kids(ring: KeyRing) -> frozenset[str]:
    """Return the ids of a ring's masters."""
    return frozenset(master.kid for master in ring.masters)


def signing_kids(keys: SigningKeys) -> frozenset[str]:
    """Return the ids of signing keys."""
    return frozenset(item.kid for item in keys.keys)
