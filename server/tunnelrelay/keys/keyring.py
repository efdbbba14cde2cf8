"""Encrypts values that leave the relay and come back to it (sealed blobs), and computes keyed digests.

A blob is sealed for one purpose and one audience (usually a host) and can be opened for no other. Expiry and one-time
use are checked by the users of the content (`oidc/login/sealed_state.py`).

    v1.<kid>.<base64url(nonce || ciphertext || tag)>        AES-256-GCM, AAD = purpose || 0 || audience

Keys are derived per purpose from the ring's master keys (HKDF-SHA256). The newest master seals, all of them open, so
that a key can be replaced while blobs are in use; `rotation.py` replaces them.

Nonce collisions: nonces are 96 random bits, so NIST SP 800-38D (section 8.3) allows 2^32 seals per key for a chance of
2^-32 that two nonces are equal. Each purpose has its own key. A login seals one state and one cookie before the visitor
has signed in, so even a flood of 10,000 logins per second causes 10,000 x 86,400 = 8.6 x 10^8 seals per day and key, a
fifth of 2^32 = 4.3 x 10^9: with a new master each day the limit holds whatever visitors do.
"""

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tunnelctl.oidc.base64url import b64url, unb64url
from tunnelrelay.keys.key_files import KeyFile, SecretFileError

VERSION = "v1"
KEY_BYTES = 32
NONCE_BYTES = 12
SETTLE_SECONDS = 60.0
"""Seconds after which a new master seals. It opens blobs from the start, and all relays that share the file have read
it by then."""
KEEP_SECONDS = 30 * 86_400.0
"""Seconds for which a master still opens blobs after a newer one seals: the length of the longest session."""
_HINT = "restore it from a backup; without one, move it away: a new one is made and visitors sign in again"
MAX_MASTERS = 1000


class Master(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A master key of the ring, for sealing and opening.

    Attributes:
        kid: Id of the key, which blobs contain; letters and digits.
        created: Unix time from which the key seals, until a newer one does.
    """

    kid: str
    created: float
    secret: bytes

    def __repr__(self) -> str:
        """Leave out the secret key."""
        return f"Master(kid={self.kid!r})"


class _RingFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file format of a key ring. `root` is the key for digests, which stays the same when `masters` are rotated."""

    version: int
    root: bytes
    masters: tuple[Master, ...]

    def __repr__(self) -> str:
        """Leave out the secret keys."""
        return f"_RingFile(masters={self.masters!r})"


class KeyRefused(Exception):
    """A key cannot be added or removed; the message says why."""


class KeyRing:
    """Seals and opens blobs and computes digests. A relay has one, stored in its data directory.

    Args:
        clock: Function that returns Unix time.

    Attributes:
        masters: Master keys, oldest first.
    """

    def __init__(self, root: bytes, masters: tuple[Master, ...], *, clock: Callable[[], float] = time.time) -> None:
        if len(root) != KEY_BYTES or not masters or any(len(master.secret) != KEY_BYTES for master in masters):
            raise SecretFileError("a key ring holds a root and at least one key, each of 32 bytes", _HINT)
        self._root = root
        self._clock = clock
        self.masters = tuple(sorted(masters, key=lambda master: master.created))
        self._by_kid = {master.kid: master for master in masters}
        self._ciphers: dict[tuple[str, str], AESGCM] = {}
        self._digest_keys: dict[str, bytes] = {}

    @classmethod
    def generate(cls, now: float | None = None, *, clock: Callable[[], float] = time.time) -> "KeyRing":
        """Return a ring with new keys that are stored nowhere."""
        return cls(secrets.token_bytes(KEY_BYTES), (_new_master(clock() if now is None else now),), clock=clock)

    @classmethod
    def parse(cls, text: bytes, *, clock: Callable[[], float] = time.time) -> "KeyRing":
        """Parse a ring from the JSON text that `dump` returned.

        Raises:
            SecretFileError: The text is not a key ring.
        """
        try:
            stored = msgspec.json.decode(text, type=_RingFile)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SecretFileError("this is not a key ring (damaged, or another file)", _HINT) from error
        if stored.version != 1:
            raise SecretFileError(
                f"key ring version {stored.version} is newer than this release knows",
                "run the release that wrote it, or a newer one",
            )
        return cls(stored.root, stored.masters, clock=clock)

    @classmethod
    def file(cls, path: Path, *, clock: Callable[[], float] = time.time) -> "KeyFile[KeyRing]":
        """Return the key file of a ring."""
        return KeyFile(path, parse=lambda text: cls.parse(text, clock=clock), make=lambda: cls.generate(clock=clock))

    @classmethod
    def load_or_create(cls, path: Path) -> "KeyRing":
        """Return the ring in a file, which is created when missing."""
        return cls.file(path).load_or_create()

    def dump(self) -> bytes:
        """Return the ring as JSON text. With it, anyone can forge every login."""
        return msgspec.json.encode(_RingFile(version=1, root=self._root, masters=self.masters))

    def seal(self, purpose: str, audience: str, content: msgspec.Struct | bytes) -> str:
        """Encrypt the content to a blob that `open` decrypts only with the same purpose and audience."""
        plain = content if isinstance(content, bytes) else msgspec.msgpack.encode(content)
        nonce = os.urandom(NONCE_BYTES)
        kid = self.sealing(self._clock()).kid
        sealed = self._cipher(kid, purpose).encrypt(nonce, plain, _bound_to(purpose, audience))
        return f"{VERSION}.{kid}.{b64url(nonce + sealed)}"

    def open(self, purpose: str, audience: str, blob: str, max_bytes: int) -> bytes | None:
        """Decrypt a blob. Return None for any error: callers must not distinguish errors.

        Args:
            max_bytes: Maximum size of a blob; longer ones are refused.
        """
        if len(blob) > max_bytes or not blob.isascii():
            return None
        version, _, rest = blob.partition(".")
        kid, _, body = rest.partition(".")
        if version != VERSION or kid not in self._by_kid:
            return None
        raw = unb64url(body)
        if raw is None or len(raw) < NONCE_BYTES:
            return None
        try:
            cipher = self._cipher(kid, purpose)
            return cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], _bound_to(purpose, audience))
        except InvalidTag:
            return None

    def digest(self, purpose: str, data: bytes) -> bytes:
        """Return the HMAC-SHA256 of `data` under a key for this purpose. Rotation does not change it."""
        return hmac.digest(self.digest_key(purpose), data, "sha256")

    def digest_key(self, purpose: str) -> bytes:
        """Return the 32-byte key that `digest` uses, for code that must not depend on the ring."""
        key = self._digest_keys.get(purpose)
        if key is None:
            key = self._digest_keys[purpose] = _derive(self._root, f"digest/{purpose}")
        return key

    # Rotation

    def sealing(self, now: float) -> Master:
        """Return the master that seals now: the newest whose start time has passed, or the oldest when there is
        none.
        """
        return next((master for master in reversed(self.masters) if master.created <= now), self.masters[0])

    def is_due(self, now: float, every: float) -> bool:
        """Return whether the newest master is older than `every` seconds."""
        return self.masters[-1].created + every <= now

    def with_new_key(self, now: float) -> "KeyRing":
        """Return the ring with one more master, which seals after `SETTLE_SECONDS`.

        Raises:
            KeyRefused: There are too many masters.
        """
        if len(self.masters) >= MAX_MASTERS:
            raise KeyRefused(f"the ring holds {MAX_MASTERS} keys already")
        return self._with((*self.masters, _new_master(now + SETTLE_SECONDS)))

    def without(self, kid: str) -> "KeyRing":
        """Return the ring without the master with this id. Blobs that it sealed can no longer be opened.

        Raises:
            KeyRefused: The master is the newest, or no master has this id.
        """
        if kid == self.masters[-1].kid:
            raise KeyRefused(f"{kid} is the newest key")
        kept = tuple(master for master in self.masters if master.kid != kid)
        if len(kept) == len(self.masters):
            raise KeyRefused(f"there is no key {kid}")
        return self._with(kept)

    def without_aged(self, now: float) -> "KeyRing":
        """Return the ring without masters so old that every blob they sealed has expired."""
        kept = [self.masters[-1]]
        for master, successor in zip(self.masters[-2::-1], self.masters[:0:-1], strict=True):
            if successor.created + KEEP_SECONDS <= now:
                break
            kept.append(master)
        return self._with(tuple(kept))

    def adopt(self, other: "KeyRing") -> None:
        """Use the masters of a newer version of the same ring.

        Raises:
            SecretFileError: It is a different ring: its digests would differ from stored ones.
        """
        if other._root != self._root:  # noqa: SLF001  # the other object is a KeyRing too
            raise SecretFileError("the key ring was replaced by another one", "restart the relay to take it")
        self.masters = other.masters
        self._by_kid = other._by_kid  # noqa: SLF001  # the other object is a KeyRing too
        self._ciphers = {named: cipher for named, cipher in self._ciphers.items() if named[0] in self._by_kid}

    def _with(self, masters: tuple[Master, ...]) -> "KeyRing":
        return KeyRing(self._root, masters, clock=self._clock)

    def _cipher(self, kid: str, purpose: str) -> AESGCM:
        cipher = self._ciphers.get((kid, purpose))
        if cipher is None:
            cipher = self._ciphers[kid, purpose] = AESGCM(_derive(self._by_kid[kid].secret, purpose))
        return cipher


def sha256(data: bytes) -> bytes:
    """Return the plain SHA-256 of `data`, for use only where the input is a long random secret."""
    return hashlib.sha256(data).digest()


def _new_master(now: float) -> Master:
    return Master(kid=secrets.token_hex(4), created=now, secret=secrets.token_bytes(KEY_BYTES))


def _derive(secret: bytes, purpose: str) -> bytes:
    info = f"tunnel/v1/{purpose}".encode()
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=info).derive(secret)


def _bound_to(purpose: str, audience: str) -> bytes:
    return f"{purpose}\0{audience}".encode()
