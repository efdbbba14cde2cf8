"""A visitor's session at one endpoint: its data, its limits, and its identity header lines.

`sessions.py` manages sessions. The provider's tokens are only in the stored `Record`, not in a session in memory.
"""

import hashlib

import msgspec

from tunnelctl.oidc.base64url import unb64url
from tunnelctl.oidc.strict_json import NotStrictJson, parse_object
from tunnelrelay.keys.assertion import ASSERTION_SECONDS, AssertionSigner
from tunnelrelay.oidc.providers.token_request import Tokens
from tunnelrelay.oidc.tokens.id_token import LEEWAY
from tunnelrelay.oidc.tokens.identity import identity_fields, identity_of, weight_of
from tunnelrelay.policy.fair_cache import ENTRY_BYTES
from tunnelrelay.policy.rules import Connection
from tunnelrelay.store.base import SessionRow

MAX_ID_TOKEN = 12 * 1024
"""Maximum characters of an ID token that is kept: one with 200 groups by id, the maximum of Entra ID. Longer tokens are
not kept; the session continues, and re-checks use the tokens that are left."""
MAX_KEPT_TOKEN = 4 * 1024
MAX_SID = 512
MAX_ACR = 512
MAX_TIME = 2.0**40
"""Maximum accepted `auth_time` in Unix time, some 30,000 years from now. JSON may contain integers that no float can
hold."""
TOUCH_SECONDS = 60.0
"""Minimum seconds between two writes of a session's activity to the store, or a tenth of the idle limit if that is
shorter."""
SESSION_BYTES = 1_000 + ENTRY_BYTES
"""Bytes of memory for a session, in addition to its claims, identity and header lines."""
GRACE_SECONDS = 30.0
"""Seconds that a re-check may take after its due time before requests wait for it (or the owner's interval, if that is
shorter)."""
NEVER = float("inf")


class Grant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The tokens and ids of a login, for re-checks and the logout at the provider. Missing ones are "" or None.

    Attributes:
        access_until: Unix time at which the access token expires; 0 when the provider did not say.
        sid: The provider's session id, which its logout messages contain.
        nonce: The login's nonce. An ID token from a refresh may repeat it and must not have another one.
        auth_time: Unix time at which the visitor last authenticated.
    """

    refresh_token: str = ""
    access_token: str = ""
    access_until: float = 0.0
    id_token: str = ""
    sid: str = ""
    nonce: str = ""
    auth_time: float | None = None
    acr: str = ""

    def __repr__(self) -> str:
        """Leave out the tokens."""
        return "Grant(...)"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The encrypted part of a session's row. Rows of the first release lack the members after `claims`.

    Attributes:
        rules_version: Version of the rules that admitted the claims.
        claims: Claims as JSON, in the form for rules and header fields.
        checked_at: Time at which the provider last confirmed the claims; None for the time of the login.
        refreshing_since: Time at which a refresh token was sent whose response is not known yet. The sending relay
            clears it, even after a time-out. If another relay finds it, the sender died, and the session ends:
            providers end the whole login when a token is sent twice.
    """

    rules_version: str
    claims: bytes
    grant: Grant = Grant()
    checked_at: float | None = None
    refreshing_since: float | None = None

    def __repr__(self) -> str:
        """Leave out claims and tokens."""
        return "Record(...)"


class VisitorSession:
    """A visitor's session at one endpoint, in memory.

    Attributes:
        id_digest: SHA-256 of the cookie's value, which identifies the session in store and logs.
        connection: The OpenID connection whose limits apply.
        judged_by: The connection whose rules last admitted these claims; None before the first time.
        rules_version: Version of the rules that last admitted these claims.
        claims: The provider's claims as JSON, for rules that change later.
        idle_seconds: Seconds without use after which the session ends.
        expires_at: Unix time of the latest end. Neither activity nor a refresh extends it.
        version: Version of the row that these claims come from.
        checked_at: Time at which the provider last confirmed the claims.
        is_askable: There is a token with which the provider can be asked.
        recheck_at: Time of the next re-check; `NEVER` without re-checks.
        wait_at: Time from which requests wait for the result of the re-check.
        away_until: Time until which the provider counts as unreachable.
        next_due: Time until which a request needs no closer check; besides idleness, the only time that the hot path
            compares.
        weight: Bytes of memory that the session takes, including the header lines created for the first request.
    """

    __slots__ = (
        "_fields", "_sign_at", "_signer", "age_ends_at", "audience", "auth_time", "away_until", "checked_at", "claims",
        "connection", "connection_id", "created_at", "epoch", "expires_at", "host", "id_digest", "identity",
        "idle_seconds", "is_askable", "judged_by", "last_seen", "next_due", "recheck_at", "rules_version",
        "touch_seconds", "version", "wait_at", "weight", "written_at",
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
        self.audience = audience
        self.away_until = 0.0
        self._signer = signer
        self._fields, self._sign_at = b"", NEVER
        self.connection = connection
        self.renew(row, record)

    def header_block(self, now: float) -> bytes:
        """Return the identity as header lines, each ended by CRLF.

        The assertion in them is signed again at half of its lifetime.
        """
        if now >= self._sign_at:
            assertion = self._signer.sign(self.identity, audience=self.audience, now=now)
            self._fields = identity_fields(self.identity) + f"X-Tunnel-Assertion: {assertion}\r\n".encode("ascii")
            self._sign_at = now + ASSERTION_SECONDS / 2
        return self._fields

    def about(self) -> dict[str, str]:
        """Return the fields of an audit event about the session."""
        identity = self.identity
        return {
            "host": self.host,
            "connection": self.connection_id,
            "subject": identity.subject,
            "issuer": identity.issuer,
        }

    def adopt(self, connection: Connection) -> None:
        """Apply the owner's current limits. They can shorten the session, but not extend it; that needs a new login."""
        self.connection = connection
        self.idle_seconds = connection.idle_seconds
        self.touch_seconds = min(TOUCH_SECONDS, connection.idle_seconds / 10)
        self.expires_at = min(self.expires_at, self.created_at + connection.max_seconds)
        # Without `auth_time`, the visitor authenticated no later than at the login.
        proved_at = self.created_at if self.auth_time is None else self.auth_time
        # With the leeway of a login, as otherwise a login that just passed could already be too old, and loop.
        self.age_ends_at = NEVER if connection.max_age is None else proved_at + connection.max_age + LEEWAY
        every = connection.recheck_seconds
        due = self.checked_at + every if every and self.is_askable else NEVER
        self.put_off(due, due + min(GRACE_SECONDS, every))

    def renew(self, row: SessionRow, record: Record) -> None:
        """Replace the session's data by that of the row in the store."""
        self.version = row.version
        self.last_seen = max(self.last_seen, row.last_seen)
        self.rules_version = record.rules_version
        self.claims = record.claims
        self.identity = identity_of(msgspec.json.decode(record.claims), issuer=row.issuer)
        # Add half of the claims' length: msgspec allocates as much more than it writes.
        self.weight = SESSION_BYTES + len(self.claims) * 3 // 2 + weight_of(self.identity)
        self.checked_at = self.created_at if record.checked_at is None else record.checked_at
        self.auth_time = record.grant.auth_time
        self.is_askable = bool(record.grant.refresh_token or record.grant.access_token)
        self.away_until = 0.0
        self.judged_by: Connection | None = None
        self._sign_at = -NEVER
        self.adopt(self.connection)

    def refusal(self, connection: Connection) -> str:
        """Return why the rules no longer admit the claims; "" when they do.

        Evaluated once for each version of the rules.
        """
        if self.rules_version == connection.rules_version:
            return ""
        refusal = connection.rules.admits(msgspec.json.decode(self.claims))
        if refusal is not True:
            return f"rules_{refusal.reason}"
        self.rules_version = connection.rules_version
        return ""

    def ended_by(self, now: float) -> str:
        """Return which of the session's limits has passed, as a word for the audit log; "" for none."""
        if now >= self.expires_at:
            return "expired"
        return "max_age" if now >= self.age_ends_at else ""

    def is_idle(self, now: float) -> bool:
        """Return whether the session was unused for too long, as far as this relay knows."""
        return now - self.last_seen > self.idle_seconds

    def recheck_began(self) -> None:
        """Record that a re-check began. Requests use the old data until `wait_at`."""
        self.next_due = min(self.expires_at, self.age_ends_at, self.wait_at)

    def put_off(self, recheck_at: float, wait_at: float) -> None:
        """Schedule the next re-check, as the provider could not be reached."""
        self.recheck_at, self.wait_at = recheck_at, wait_at
        self.next_due = min(self.expires_at, self.age_ends_at, recheck_at, wait_at)


def grant_of(tokens: Tokens, *, nonce: str, now: float) -> Grant:
    """Return the grant to keep from a login's tokens, after the ID token was checked.

    Values that are too long are left out.
    """
    claims = claims_in(tokens.id_token)
    grant = Grant(
        sid=_short(claims.get("sid"), MAX_SID),
        nonce=nonce,
        auth_time=_time(claims.get("auth_time")),
        acr=_short(claims.get("acr"), MAX_ACR),
    )
    return with_id_token(with_tokens(grant, tokens, now=now), tokens.id_token)


def with_tokens(grant: Grant, tokens: Tokens, *, now: float) -> Grant:
    """Return the grant with new access and refresh tokens, but without the new ID token, which was not checked.

    A refresh token that is not replaced remains valid (RFC 6749 section 6).
    """
    refresh_token = _short(tokens.refresh_token, MAX_KEPT_TOKEN) if tokens.refresh_token else grant.refresh_token
    return msgspec.structs.replace(
        grant,
        refresh_token=refresh_token,
        access_token=_short(tokens.access_token, MAX_KEPT_TOKEN),
        access_until=now + tokens.expires_in if tokens.expires_in else 0.0,
    )


def with_id_token(grant: Grant, id_token: str) -> Grant:
    """Return the grant with an ID token that passed the checks, or "" if it is too long."""
    return msgspec.structs.replace(grant, id_token=_short(id_token, MAX_ID_TOKEN))


def claims_in(id_token: str) -> dict[str, object]:
    """Return the claims of an ID token that was checked before; {} without one."""
    payload = unb64url(id_token.split(".")[1]) if id_token.count(".") == 2 else None
    try:
        return {} if payload is None else parse_object(payload, max_bytes=len(payload))
    except NotStrictJson:
        return {}


def sid_key(connection_id: str, sid: str) -> bytes | None:
    """Return the digest of the provider's session id for a row; None without an id."""
    return hashlib.sha256(f"{connection_id}\0{sid}".encode(errors="replace")).digest() if sid else None


def _time(value: object) -> float | None:
    """Return a Unix time if the value is a finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_TIME:
        return None
    return float(value)


def _short(text: object, limit: int) -> str:
    return text if isinstance(text, str) and len(text) <= limit else ""
