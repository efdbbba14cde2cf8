"""Sealed blobs and keyed digests, for values that leave the relay and must come back unread and unchanged.

A blob is sealed for one purpose and one audience (mostly a host) and opens for no other. Expiry and one-time use are up
to the content (`oidc/login/sealed_state.py`).

    v1.<kid>.<base64url(nonce || ciphertext || tag)>        AES-256-GCM, AAD = purpose || 0 || audience

Keys are derived per purpose from the ring's masters (HKDF-SHA256). The newest master seals, every one opens, so a key
can be replaced while blobs are under way: `rotation.py` does it.

How often a nonce may repeat: nonces are 96 random bits, so NIST SP 800-38D (section 8.3) allows 2^32 seals a key for a
chance of 2^-32 that any two are alike. Each purpose has a key of its own. A login seals one state and one cookie before
anybody has signed in, so even a flood of 10,000 starts a second makes 10,000 x 86,400 = 8.6 x 10^8 seals a day and key,
a fifth of 2^32 = 4.3 x 10^9: a new master each day keeps the bound whatever visitors do.
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
"""A new master opens from the start and seals only this much later: every relay on the file has read it by then."""
KEEP_SECONDS = 30 * 86_400.0
"""How long a master opens once another one seals: as long as the longest session, which it may have sealed."""
_HINT = "restore it from a backup; without one, move it away: a new one is made and visitors sign in again"
MAX_MASTERS = 1000


class Master(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One key to seal and open with.

    Attributes:
        kid: Name of the key, as blobs carry it; letters and digits.
        created: Unix time from which it seals, until a newer one does.
    """

    kid: str
    created: float
    secret: bytes

    def __repr__(self) -> str:
        """Leave out the secret."""
        return f"Master(kid={self.kid!r})"


class _RingFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ring as it lies on disk. `root` keys digests, which must outlive every rotation of `masters`."""

    version: int
    root: bytes
    masters: tuple[Master, ...]

    def __repr__(self) -> str:
        """Leave out the root."""
        return f"_RingFile(masters={self.masters!r})"


class KeyRefused(Exception):
    """A key cannot be added or taken away; the text says why."""


class KeyRing:
    """Seals, opens and digests. One per relay, kept in its data directory.

    Args:
        clock: Unix time.

    Attributes:
        masters: Oldest first.
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
        """A ring with fresh keys, not kept anywhere."""
        return cls(secrets.token_bytes(KEY_BYTES), (_new_master(clock() if now is None else now),), clock=clock)

    @classmethod
    def parse(cls, text: bytes, *, clock: Callable[[], float] = time.time) -> "KeyRing":
        """The ring from its JSON text, as `dump` wrote it.

        Raises:
            SecretFileError: When it is no key ring.
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
        """The file a ring is kept in."""
        return KeyFile(path, parse=lambda text: cls.parse(text, clock=clock), make=lambda: cls.generate(clock=clock))

    @classmethod
    def load_or_create(cls, path: Path) -> "KeyRing":
        """The ring in a file, which is made when missing."""
        return cls.file(path).load_or_create()

    def dump(self) -> bytes:
        """The ring as JSON text. A reader of it can forge every login."""
        return msgspec.json.encode(_RingFile(version=1, root=self._root, masters=self.masters))

    def seal(self, purpose: str, audience: str, content: msgspec.Struct | bytes) -> str:
        """A blob that only `open` with the same purpose and audience turns back into the content."""
        plain = content if isinstance(content, bytes) else msgspec.msgpack.encode(content)
        nonce = os.urandom(NONCE_BYTES)
        kid = self.sealing(self._clock()).kid
        sealed = self._cipher(kid, purpose).encrypt(nonce, plain, _bound_to(purpose, audience))
        return f"{VERSION}.{kid}.{b64url(nonce + sealed)}"

    def open(self, purpose: str, audience: str, blob: str, max_bytes: int) -> bytes | None:
        """The sealed content; None when anything is wrong: callers must not tell the errors apart.

        Args:
            max_bytes: Longer blobs are refused.
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
        """HMAC-SHA256 of `data` under a key for this purpose alone. Rotation does not change it."""
        return hmac.digest(self.digest_key(purpose), data, "sha256")

    def digest_key(self, purpose: str) -> bytes:
        """The 32-byte key behind `digest`, for code that must stay free of the ring."""
        key = self._digest_keys.get(purpose)
        if key is None:
            key = self._digest_keys[purpose] = _derive(self._root, f"digest/{purpose}")
        return key

    # Rotation

    def sealing(self, now: float) -> Master:
        """The master that seals now: the newest whose time has come, or the oldest when none has."""
        return next((master for master in reversed(self.masters) if master.created <= now), self.masters[0])

    def is_due(self, now: float, every: float) -> bool:
        """Whether the newest master is older than `every` seconds."""
        return self.masters[-1].created + every <= now

    def with_new_key(self, now: float) -> "KeyRing":
        """The ring with one more master, which seals from `SETTLE_SECONDS` on.

        Raises:
            KeyRefused: There are too many.
        """
        if len(self.masters) >= MAX_MASTERS:
            raise KeyRefused(f"the ring holds {MAX_MASTERS} keys already")
        return self._with((*self.masters, _new_master(now + SETTLE_SECONDS)))

    def without(self, kid: str) -> "KeyRing":
        """The ring without a master. Blobs that it sealed can no longer be opened.

        Raises:
            KeyRefused: It is the newest, or there is none of this name.
        """
        if kid == self.masters[-1].kid:
            raise KeyRefused(f"{kid} is the newest key")
        kept = tuple(master for master in self.masters if master.kid != kid)
        if len(kept) == len(self.masters):
            raise KeyRefused(f"there is no key {kid}")
        return self._with(kept)

    def without_aged(self, now: float) -> "KeyRing":
        """The ring without masters so old that nothing they sealed is still valid."""
        kept = [self.masters[-1]]
        for master, successor in zip(self.masters[-2::-1], self.masters[:0:-1], strict=True):
            if successor.created + KEEP_SECONDS <= now:
                break
            kept.append(master)
        return self._with(tuple(kept))

    def adopt(self, other: "KeyRing") -> None:
        """Use the masters of a newer reading of the same ring.

        Raises:
            SecretFileError: It is another ring: digests, which live long, would no longer fit.
        """
        if other._root != self._root:  # noqa: SLF001  # a ring too
            raise SecretFileError("the key ring was replaced by another one", "restart the relay to take it")
        self.masters = other.masters
        self._by_kid = other._by_kid  # noqa: SLF001  # a ring too
        self._ciphers = {named: cipher for named, cipher in self._ciphers.items() if named[0] in self._by_kid}

    def _with(self, masters: tuple[Master, ...]) -> "KeyRing":
        return KeyRing(self._root, masters, clock=self._clock)

    def _cipher(self, kid: str, purpose: str) -> AESGCM:
        cipher = self._ciphers.get((kid, purpose))
        if cipher is None:
            cipher = self._ciphers[kid, purpose] = AESGCM(_derive(self._by_kid[kid].secret, purpose))
        return cipher


def sha256(data: bytes) -> bytes:
    """Plain SHA-256, for keys whose input is a long random secret already."""
    return hashlib.sha256(data).digest()


def _new_master(now: float) -> Master:
    return Master(kid=secrets.token_hex(4), created=now, secret=secrets.token_bytes(KEY_BYTES))


def _derive(secret: bytes, purpose: str) -> bytes:
    info = f"tunnel/v1/{purpose}".encode()
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=info).derive(secret)


def _bound_to(purpose: str, audience: str) -> bytes:
    return f"{purpose}\0{audience}".encode()
