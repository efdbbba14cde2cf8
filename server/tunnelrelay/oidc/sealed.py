"""Sealed blobs and keyed digests: what leaves the relay and must come back unread and unchanged.

A blob has one purpose and one audience (mostly a host): sealed for one, it opens for no other. Expiry and one-time use
are the business of what lies inside (`blobs.py`).

    v1.<kid>.<base64url(nonce || ciphertext || tag)>        AES-256-GCM, AAD = purpose || 0 || audience

Keys are derived per purpose from the ring's masters (HKDF-SHA256). The newest master seals, every one opens, so a key
can be replaced while blobs are under way.
"""

import hashlib
import hmac
import os
import secrets
import time
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tunnelctl.oidc.base64url import b64url, unb64url
from tunnelrelay.oidc.secret_files import SecretFileError, read_private_file, write_private_file

VERSION = "v1"
KEY_BYTES = 32
NONCE_BYTES = 12
"""Random, so one master must not seal more than 2^32 blobs (NIST SP 800-38D); a login takes four."""


class Master(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One key to seal and open with.

    Attributes:
        kid: Names the key inside blobs; letters and digits.
        created: Unix time; the newest seals.
    """

    kid: str
    created: float
    secret: bytes

    def __repr__(self) -> str:
        """Never the secret."""
        return f"Master(kid={self.kid!r})"


class _RingFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ring as it lies on disk. `root` keys digests, which must outlive every rotation of `masters`."""

    version: int
    root: bytes
    masters: tuple[Master, ...]


class KeyRing:
    """Seals, opens and digests. One per relay, kept in its data directory."""

    def __init__(self, root: bytes, masters: tuple[Master, ...]) -> None:
        if len(root) != KEY_BYTES or not masters or any(len(master.secret) != KEY_BYTES for master in masters):
            raise SecretFileError("a key ring holds a root and at least one key, each of 32 bytes")
        self._root = root
        self._masters = {master.kid: master for master in masters}
        self._newest = max(masters, key=lambda master: master.created)
        self._ciphers: dict[tuple[str, str], AESGCM] = {}
        self._digest_keys: dict[str, bytes] = {}

    @classmethod
    def generate(cls, now: float | None = None) -> "KeyRing":
        """A ring with fresh keys, not kept anywhere."""
        return cls(secrets.token_bytes(KEY_BYTES), (_new_master(time.time() if now is None else now),))

    @classmethod
    def parse(cls, text: bytes) -> "KeyRing":
        """The ring from its JSON text, as `dump` wrote it.

        Raises:
            SecretFileError: When it is no key ring.
        """
        try:
            stored = msgspec.json.decode(text, type=_RingFile)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SecretFileError("this is not a key ring (damaged, or another file)") from error
        if stored.version != 1:
            raise SecretFileError(f"key ring version {stored.version} is newer than this release knows")
        return cls(stored.root, stored.masters)

    @classmethod
    def load(cls, path: Path) -> "KeyRing":
        """The ring in a file.

        Raises:
            SecretFileError: When the file cannot be read, others may read it, or it is no key ring.
        """
        return cls.parse(read_private_file(path))

    @classmethod
    def create(cls, path: Path) -> "KeyRing":
        """A fresh ring, written to a file that must not exist yet (mode 0600)."""
        ring = cls.generate()
        write_private_file(path, ring.dump())
        return ring

    @classmethod
    def load_or_create(cls, path: Path) -> "KeyRing":
        """The ring in a file, which is made when missing."""
        try:
            return cls.create(path)
        except FileExistsError:
            return cls.load(path)

    def dump(self) -> bytes:
        """The ring as JSON text. Whoever reads it can forge every login."""
        return msgspec.json.encode(_RingFile(version=1, root=self._root, masters=tuple(self._masters.values())))

    def seal(self, purpose: str, audience: str, content: msgspec.Struct | bytes) -> str:
        """A blob that only `open` with the same purpose and audience turns back into the content."""
        plain = content if isinstance(content, bytes) else msgspec.msgpack.encode(content)
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._cipher(self._newest.kid, purpose).encrypt(nonce, plain, _bound_to(purpose, audience))
        return f"{VERSION}.{self._newest.kid}.{b64url(nonce + sealed)}"

    def open(self, purpose: str, audience: str, blob: str, max_bytes: int) -> bytes | None:
        """What was sealed, or None when anything at all is wrong: callers must not tell the faults apart.

        Args:
            max_bytes: Longest blob looked at.
        """
        if len(blob) > max_bytes or not blob.isascii():
            return None
        version, _, rest = blob.partition(".")
        kid, _, body = rest.partition(".")
        if version != VERSION or kid not in self._masters:
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
        """HMAC-SHA256 of `data` under a key for this purpose alone. The same for ever: rotation does not touch it."""
        return hmac.digest(self.digest_key(purpose), data, "sha256")

    def digest_key(self, purpose: str) -> bytes:
        """The 32-byte key behind `digest`, for code that must stay free of the ring."""
        key = self._digest_keys.get(purpose)
        if key is None:
            key = self._digest_keys[purpose] = _derive(self._root, f"digest/{purpose}")
        return key

    def _cipher(self, kid: str, purpose: str) -> AESGCM:
        cipher = self._ciphers.get((kid, purpose))
        if cipher is None:
            cipher = self._ciphers[kid, purpose] = AESGCM(_derive(self._masters[kid].secret, purpose))
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
