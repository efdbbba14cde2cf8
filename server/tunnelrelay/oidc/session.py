"""One visitor signed in at one endpoint, and the header lines their requests get. Kept and found by `sessions.py`."""

import msgspec

from tunnelrelay.oidc.assertion import ASSERTION_SECONDS, AssertionSigner
from tunnelrelay.oidc.identity import identity_fields, identity_of
from tunnelrelay.policy.rules import Connection
from tunnelrelay.store.base import SessionRow


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What a session's row holds sealed."""

    rules_version: str
    claims: bytes


class Session:
    """One visitor signed in at one endpoint.

    Attributes:
        id_digest: SHA-256 of the cookie's value; names the session wherever the cookie must not appear.
        rules_version: Of the rules that last admitted these claims.
        claims: What the provider said, as JSON, for rules that change later.
        idle_seconds: Unused for this long, it is over.
        expires_at: Absolute end, Unix time. Activity never moves it.
    """

    __slots__ = (
        "_fields", "_sign_at", "_signer", "audience", "claims", "connection_id", "created_at", "epoch", "expires_at",
        "host", "id_digest", "identity", "idle_seconds", "last_seen", "rules_version", "written_at",
    )  # fmt: skip

    def __init__(
        self, row: SessionRow, record: Record, *, audience: str, connection: Connection, signer: AssertionSigner
    ) -> None:
        self.id_digest = row.key
        self.host = row.host
        self.connection_id = row.connection_id
        self.epoch = row.epoch
        self.created_at = row.created_at
        self.expires_at = row.expires_at
        self.last_seen = self.written_at = row.last_seen
        self.adopt(connection)
        self.rules_version = record.rules_version
        self.claims = record.claims
        self.identity = identity_of(msgspec.json.decode(record.claims), issuer=row.issuer)
        self.audience = audience
        self._signer = signer
        self._fields = b""
        self._sign_at = float("-inf")

    def header_block(self, now: float) -> bytes:
        """The identity as header lines, each ended by CRLF, assertion included; signed anew at half of its life."""
        if now >= self._sign_at:
            assertion = self._signer.sign(self.identity, audience=self.audience, now=now)
            self._fields = identity_fields(self.identity) + f"X-Tunnel-Assertion: {assertion}\r\n".encode("ascii")
            self._sign_at = now + ASSERTION_SECONDS / 2
        return self._fields

    def adopt(self, connection: Connection) -> None:
        """Goes by the owner's present limits. A longer life than was granted at login needs a new login."""
        self.idle_seconds = connection.idle_seconds
        self.expires_at = min(self.expires_at, self.created_at + connection.max_seconds)

    def is_over(self, now: float) -> bool:
        """Past one of its limits."""
        return now >= self.expires_at or now - self.last_seen > self.idle_seconds
