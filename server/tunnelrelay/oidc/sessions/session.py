"""One visitor signed in at one endpoint: its data, its limits, and its identity header lines. `sessions.py` manages
them. The provider's tokens are in the stored `Record` only: a session in memory has none.
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
"""Characters of an ID token that is kept: one with 200 groups by their ids, the most that Entra ID writes into it. A
longer one is not, nor is any other token over its limit: the session goes on, and the provider is asked with what there
is."""
MAX_KEPT_TOKEN = 4 * 1024
MAX_SID = 512
MAX_ACR = 512
MAX_TIME = 2.0**40
"""Unix time, some 30,000 years on: the largest `auth_time` that is one. JSON has integers that no float holds."""
TOUCH_SECONDS = 60.0
"""Activity is written to the store at most this often per session, or each tenth of a shorter idle limit."""
SESSION_BYTES = 1_000 + ENTRY_BYTES
"""Memory of a session beside its claims, identity and fields."""
GRACE_SECONDS = 30.0
"""How long past its time a re-check may run before requests wait for it (or as long as the owner's interval, if that
is shorter)."""
NEVER = float("inf")


class Grant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The tokens and ids of a login, for re-checks and the logout at the provider. Absent ones are "" or None.

    Attributes:
        access_until: Unix time; 0 when the provider did not say.
        sid: The provider's session id, which its logout messages name.
        nonce: The login's nonce. An ID token from a refresh may repeat it and must not have another.
        auth_time: When the visitor last proved who they are, Unix time.
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
    """The sealed part of a session's row. Rows of the first release lack the members after `claims`.

    Attributes:
        rules_version: Of the rules that admitted the claims.
        claims: JSON, as rules and headers read them.
        checked_at: When the provider last vouched for them; None for at login.
        refreshing_since: When a refresh token was sent whose answer is not known yet. The sender clears it, also after
            a
            time-out. If another relay finds it, the sender died, and the session ends: providers end the whole login
            when a
            token comes twice.
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
    """One visitor signed in at one endpoint.

    Attributes:
        id_digest: SHA-256 of the cookie's value, which names the session in store and logs.
        connection: The OpenID connection whose limits apply.
        judged_by: The connection whose rules last admitted these claims; None before the first time.
        rules_version: Of the rules that last admitted these claims.
        claims: The provider's claims as JSON, for rules that change later.
        idle_seconds: It ends when it was not used for this long.
        expires_at: Absolute end, Unix time. Neither activity nor a refresh moves it.
        version: Of the row these claims are from.
        checked_at: When the provider last vouched for them.
        is_askable: There is a token to ask the provider with.
        recheck_at: When the provider is asked again; `NEVER` without re-checks.
        wait_at: From then on requests wait for the provider's answer.
        away_until: Until then the provider counts as unavailable.
        next_due: Until then a request needs no closer check; the only time the hot path compares beside idleness.
        weight: Bytes of memory that it takes, with the fields that are made for the first request.
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
        """The identity as header lines, each ended by CRLF, assertion included; signed anew at half of its life."""
        if now >= self._sign_at:
            assertion = self._signer.sign(self.identity, audience=self.audience, now=now)
            self._fields = identity_fields(self.identity) + f"X-Tunnel-Assertion: {assertion}\r\n".encode("ascii")
            self._sign_at = now + ASSERTION_SECONDS / 2
        return self._fields

    def about(self) -> dict[str, str]:
        """The fields of an audit event about it."""
        identity = self.identity
        return {
            "host": self.host,
            "connection": self.connection_id,
            "subject": identity.subject,
            "issuer": identity.issuer,
        }

    def adopt(self, connection: Connection) -> None:
        """Apply the owner's present limits. They can shorten a session, but a longer one needs a new login."""
        self.connection = connection
        self.idle_seconds = connection.idle_seconds
        self.touch_seconds = min(TOUCH_SECONDS, connection.idle_seconds / 10)
        self.expires_at = min(self.expires_at, self.created_at + connection.max_seconds)
        # Without `auth_time`, the visitor signed in at the login at the latest.
        proved_at = self.created_at if self.auth_time is None else self.auth_time
        # With the leeway of a login: else a login that has just passed could be too old at once, and loop.
        self.age_ends_at = NEVER if connection.max_age is None else proved_at + connection.max_age + LEEWAY
        every = connection.recheck_seconds
        due = self.checked_at + every if every and self.is_askable else NEVER
        self.put_off(due, due + min(GRACE_SECONDS, every))

    def renew(self, row: SessionRow, record: Record) -> None:
        """Take over what the row in the store holds now."""
        self.version = row.version
        self.last_seen = max(self.last_seen, row.last_seen)
        self.rules_version = record.rules_version
        self.claims = record.claims
        self.identity = identity_of(msgspec.json.decode(record.claims), issuer=row.issuer)
        # Half of the claims' length again: msgspec leaves as much behind what it has written.
        self.weight = SESSION_BYTES + len(self.claims) * 3 // 2 + weight_of(self.identity)
        self.checked_at = self.created_at if record.checked_at is None else record.checked_at
        self.auth_time = record.grant.auth_time
        self.is_askable = bool(record.grant.refresh_token or record.grant.access_token)
        self.away_until = 0.0
        self.judged_by: Connection | None = None
        self._sign_at = -NEVER
        self.adopt(self.connection)

    def refusal(self, connection: Connection) -> str:
        """Why the rules no longer admit these claims, "" when they do. Judged once for each version of the rules."""
        if self.rules_version == connection.rules_version:
            return ""
        refusal = connection.rules.admits(msgspec.json.decode(self.claims))
        if refusal is not True:
            return f"rules_{refusal.reason}"
        self.rules_version = connection.rules_version
        return ""

    def ended_by(self, now: float) -> str:
        """Which of its limits has passed, as a word for the audit log; "" for none."""
        if now >= self.expires_at:
            return "expired"
        return "max_age" if now >= self.age_ends_at else ""

    def is_idle(self, now: float) -> bool:
        """Whether it was not used for too long, as far as this relay knows."""
        return now - self.last_seen > self.idle_seconds

    def recheck_began(self) -> None:
        """Note that a re-check began. Requests use the old data until `wait_at`."""
        self.next_due = min(self.expires_at, self.age_ends_at, self.wait_at)

    def put_off(self, recheck_at: float, wait_at: float) -> None:
        """Schedule the next re-check, as the provider could not be asked."""
        self.recheck_at, self.wait_at = recheck_at, wait_at
        self.next_due = min(self.expires_at, self.age_ends_at, recheck_at, wait_at)


def grant_of(tokens: Tokens, *, nonce: str, now: float) -> Grant:
    """The grant to keep of a login's tokens, once the ID token has passed the checks. Values that are too long are left
    out."""
    claims = claims_in(tokens.id_token)
    grant = Grant(
        sid=_short(claims.get("sid"), MAX_SID),
        nonce=nonce,
        auth_time=_time(claims.get("auth_time")),
        acr=_short(claims.get("acr"), MAX_ACR),
    )
    return with_id_token(with_tokens(grant, tokens, now=now), tokens.id_token)


def with_tokens(grant: Grant, tokens: Tokens, *, now: float) -> Grant:
    """The grant with new access and refresh tokens. The new ID token, which was not checked, is not taken.

    A refresh token that is not replaced stays good (RFC 6749 section 6).
    """
    refresh_token = _short(tokens.refresh_token, MAX_KEPT_TOKEN) if tokens.refresh_token else grant.refresh_token
    return msgspec.structs.replace(
        grant,
        refresh_token=refresh_token,
        access_token=_short(tokens.access_token, MAX_KEPT_TOKEN),
        access_until=now + tokens.expires_in if tokens.expires_in else 0.0,
    )


def with_id_token(grant: Grant, id_token: str) -> Grant:
    """The grant with an ID token that has passed the check list, "" in the place of one that is too long."""
    return msgspec.structs.replace(grant, id_token=_short(id_token, MAX_ID_TOKEN))


def claims_in(id_token: str) -> dict[str, object]:
    """The claims of an ID token that was checked before; {} without one."""
    payload = unb64url(id_token.split(".")[1]) if id_token.count(".") == 2 else None
    try:
        return {} if payload is None else parse_object(payload, max_bytes=len(payload))
    except NotStrictJson:
        return {}


def sid_key(connection_id: str, sid: str) -> bytes | None:
    """The digest of the provider's session id for a row; None without one."""
    return hashlib.sha256(f"{connection_id}\0{sid}".encode(errors="replace")).digest() if sid else None


def _time(value: object) -> float | None:
    """Unix time as a finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_TIME:
        return None
    return float(value)


def _short(text: object, limit: int) -> str:
    return text if isinstance(text, str) and len(text) <= limit else ""
