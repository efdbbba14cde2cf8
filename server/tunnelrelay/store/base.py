"""The store's interface: tokens, sessions, one-time marks, names, the audit log, and the resources that users
configure.

Live state (which tunnel serves a name) is not stored, and no secret is stored in clear text. Every implementation
passes `tests/store/test_contract.py`. Read next: `resources.py` (the configured resources), then `sql_store.py`.

Times are Unix seconds, given by the caller: a store has no clock. Several relays may share one store. Calls on which
relays must agree (`use_once`, `lease`, `replace_session`, `claim_name`) are decided by the store in one transaction.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tunnelrelay.model import Token
from tunnelrelay.store.resources import (
    ApiKeyRow,
    BackendRow,
    Collection,
    DomainRow,
    EdgeRow,
    ProviderRow,
    SignInRow,
    TrustRuleRow,
    UserRow,
)

ENDED_SECONDS = 3600.0
"""Seconds for which the key of an ended session is kept for other relays to read: far longer than the interval of
polling."""

KEEP_REVOKED = 7 * 86_400.0
"""Seconds for which a revoked token is still listed by the operator's commands. The audit log keeps who revoked it."""
KEEP_EXPIRED = 30 * 86_400.0
"""Seconds for which an expired token or API key is still shown, so that its owner sees why it does not work."""
PURGED_AT_ONCE = 1000
"""Maximum rows of a kind that one clean-up deletes in one transaction: it blocks other writers for some
milliseconds."""
MAX_COOLING = 4096
"""Maximum names in their cool-down that are returned for one owner: host names only, 1 MB."""
MAX_COOLED = 50_000
"""Maximum rows searched for names in their cool-down, about 50 ms of the database's time. An owner who creates two new
generated names a second needs seven hours for so many."""
FREED_AT = -1e15
"""Release time of a name that an operator freed: longer ago than any cool-down."""


class StoreError(Exception):
    """The store failed: it is unreachable, full, locked or damaged. Access checks must then refuse (fail closed).

    Attributes:
        hint: What the operator can do; "" without a specific hint.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UnstorableError(StoreError):
    """A text is too long, or contains characters that not every database accepts.

    The store works; a retry does not help.

    Attributes:
        field: Name of the field.
        problem: Description of the problem, without the field's content.
    """

    def __init__(self, table: str, field: str, problem: str) -> None:
        super().__init__(f"`{field}` in `{table}` cannot be kept: it {problem}")
        self.field = field
        self.problem = problem


class StoreTooNewError(StoreError):
    """The database was written by a newer release; this release must not change it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """The stored session of a visitor's login.

    Attributes:
        key: SHA-256 of the session id, so that a reader of the store cannot forge a cookie.
        host: The only endpoint that the session is valid for.
        connection_id: The OpenID connection of the login.
        epoch: Digest of the connection's configuration at login.
        expires_at: Maximum lifetime; activity does not extend it.
        sealed: The other data (claims, provider's tokens), encrypted by the key ring; the store never decrypts it.
        version: Grows by one with every change of the row; `replace_session` compares it.
        sid: SHA-256 of the provider's own session id, which a back-channel logout may contain; None without one.
        client_id: Client at `issuer` that the login used. With both, a relay can verify logout tokens without the
            endpoint's settings. None for rows of the first release.
    """

    key: bytes
    host: str
    connection_id: str
    epoch: str
    issuer: str
    subject: str
    email: str
    created_at: float
    last_seen: float
    expires_at: float
    sealed: bytes
    version: int = 1
    sid: bytes | None = None
    client_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionHolder:
    """A session without its encrypted part, for lists; with it, a hundred thousand sessions would take gigabytes."""

    key: bytes
    host: str
    connection_id: str
    issuer: str
    subject: str
    email: str
    created_at: float
    last_seen: float
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCriteria:
    """Conditions that select sessions: all given values must match. Without any value no session matches.

    Attributes:
        hosts: Sessions at any of these hosts; an empty set matches none.
        sid: Digest of the provider's session id, as in `SessionRow`.
        live_at: Sessions that have not expired at this time; given alone it matches all live sessions.
        owner: Sessions at hosts of this owner: names it holds or held last, its domains, its edges.
        handle: Sessions whose key begins with these bytes.
    """

    key: bytes | None = None
    host: str | None = None
    connection_id: str | None = None
    issuer: str | None = None
    subject: str | None = None
    email: str | None = None
    sid: bytes | None = None
    client_id: str | None = None
    hosts: frozenset[str] | None = None
    live_at: float | None = None
    owner: str | None = None
    handle: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NameRow:
    """A host name and its present or last holder.

    Attributes:
        at: Time at which its holder last claimed or refreshed it.
        generation: Grows by one whenever the name changes owner; sessions and logins of other generations are invalid.
        released_at: Time at which it was given up; None while it is held (or if its relay crashed).
    """

    host: str
    owner: str
    at: float
    generation: int = 1
    released_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """The stored audit event; `observe/audit.py` describes the fields.

    Attributes:
        id: Number that grows with every event; 0 until the event is stored.
        subject: Keyed digest of issuer and subject; "" without a person.
        node: Name of the relay that recorded it.
        details: JSON object with further texts.
        actor: Id of the user who caused it, in the dashboard or by the API; "" for none.
    """

    at: float
    kind: str
    host: str = ""
    owner: str = ""
    connection: str = ""
    subject: str = ""
    peer: str = ""
    request_id: str = ""
    node: str = ""
    reason: str = ""
    details: str = "{}"
    actor: str = ""
    id: int = 0


class TokenStore(Protocol):
    """Stores agents' authtokens."""

    async def add_token(self, token: Token, digest: bytes) -> None:
        """Store a new token. Raises StoreError when its id or digest already exists."""

    async def tokens(self, owner: str | None = None) -> list[Token]:
        """Return all tokens, including revoked ones, oldest first; only those of `owner` unless None."""

    async def token(self, token_id: str) -> Token | None:
        """Return a token, even a revoked one; None when it does not exist."""

    async def token_page(self, *, owner: str | None = None, before: str | None = None, limit: int = 100) -> list[Token]:
        """Return tokens that are not revoked, by descending id, starting below `before`."""

    async def change_token(self, before: Token, after: Token) -> bool:
        """Write a token's description, metadata, ACL and expiry, but only the values in which `before` and `after`
        differ (at least one), so that two users who change different fields at once do not undo each other's change.
        Return False when the token does not exist.
        """

    async def revoke_token(self, token_id: str, at: float) -> Token | None:
        """Revoke a token and return it; None when it does not exist. Revoking it again does not change the time."""

    async def revoked_tokens(self, since: float) -> list[str]:
        """Return the ids of the tokens that were revoked at or after `since`."""

    async def token_by_digest(self, digest: bytes) -> Token | None:
        """Return the token with this digest; None when it is unknown or revoked. The caller must check its expiry."""

    async def touch_token(self, token_id: str, at: float) -> None:
        """Record the last use of a token; an older time than the stored one is ignored."""


class SessionStore(Protocol):
    """Stores visitors' sessions."""

    async def save_session(self, row: SessionRow) -> None:
        """Store a new session; one with the same key is replaced."""

    async def replace_session(self, row: SessionRow) -> bool:
        """Replace a session by its changed row, if the stored version is one less.

        Return False if it is not, or if the session is gone.
        """

    async def load_session(self, key: bytes) -> SessionRow | None:
        """Return a session, even an expired one (the caller has the clock); None when it does not exist."""

    async def sessions(
        self, criteria: SessionCriteria | None = None, *, limit: int = 1000, after: SessionHolder | None = None
    ) -> list[SessionHolder]:
        """Return the sessions that match, or all without criteria, the most recently used first.

        Args:
            after: Return only sessions after this one, to continue a list.
        """

    async def connections(self, criteria: SessionCriteria, *, limit: int) -> list[str]:
        """Return the sorted ids of the connections of the sessions that match."""

    async def touch_session(self, key: bytes, last_seen: float) -> None:
        """Record the last activity of a session. Ignores an older time, and does not restore a deleted session."""

    async def end_sessions(self, criteria: SessionCriteria, at: float) -> list[bytes]:
        """End all sessions that match in one transaction, record them for `ended_since`, and return their keys."""

    async def revoke_sessions(self, criteria: SessionCriteria, at: float) -> list[SessionHolder]:
        """End all sessions that match, as `end_sessions` does, and return who was signed in."""

    async def end_oldest(self, criteria: SessionCriteria, keep: int, at: float) -> list[bytes]:
        """End all sessions that match except the `keep` most recently used, as `end_sessions` does."""

    async def ended_since(self, at: float) -> list[bytes]:
        """Return the keys of the sessions that ended at or after `at`. They are kept for `ENDED_SECONDS`."""

    async def delete_expired(self, now: float) -> int:
        """Delete sessions and one-time marks that expired at or before `now`. Return how many."""


class MarkStore(Protocol):
    """One-time marks and leases: of all callers on all relays, only one gets each."""

    async def use_once(self, key: bytes, expires_at: float) -> bool:
        """Return True for the first caller with this key, and False for all later ones until the mark has expired and
        is deleted.
        """

    async def lease(self, key: bytes, now: float, until: float) -> bool:
        """Acquire a lease, a lock that expires by itself.

        Return True if it was free; the caller then holds it until `give_back`, or until the time `until`.
        """

    async def give_back(self, key: bytes) -> None:
        """End a lease; do nothing if it does not exist."""


class NameStore(Protocol):
    """Stores host names and their holders."""

    async def claim_name(
        self, host: str, owner: str, at: float, *, lost_seconds: float, cool_seconds: float
    ) -> NameRow:
        """Give a name to an owner if the owner may have it. Return the row, whose owner is the holder.

        An owner may have a name that has no holder, that the owner held last, or whose holder gave it up (or was last
        seen, plus `lost_seconds`) at least `cool_seconds` ago, but never one that another owner has reserved
        (`domains`). A change of owner increments the generation.
        """

    async def touch_names(self, hosts: Sequence[str], at: float) -> None:
        """Refresh the time of names that are still held."""

    async def release_name(self, host: str, owner: str, at: float) -> None:
        """Record that this owner gave the name up; no change when the owner does not hold it."""

    async def name(self, host: str) -> NameRow | None:
        """Return the row of a name; None when it never had a holder."""

    async def names(self, since: float) -> list[NameRow]:
        """Return the names that were held at or after `since` and not given up, sorted by host."""

    async def all_names(self, owner: str | None = None) -> list[NameRow]:
        """Return every name that was ever held, sorted by host; only those that `owner` held last unless None."""

    async def free_name(self, host: str) -> NameRow | None:
        """End a name's cool-down now. Return its new row (with `FREED_AT`); None when the name is unknown."""

    async def forget_names(self, is_meant: Callable[[str], bool], before: float) -> int:
        """Delete the names that match and were not held since `before`, with their generations, except reserved ones.

        Return how many were deleted.
        """

    async def cooling_names(self, owner: str, since: float, *, unlike: str) -> list[str]:
        """Return host names that this owner held last and gave up after `since`, at most `MAX_COOLING`.

        Args:
            unlike: A regular expression; hosts that it matches at their start are left out and not counted. Only the
                `MAX_COOLED` names given up last are searched.
        """

    async def cooling_ports(self, owner: str, since: float) -> list[str]:
        """Return the TCP ports, as hosts, that this owner held last and gave up after `since`."""

    async def reserve_domain(
        self, row: DomainRow, at: float, *, lost_seconds: float, cool_seconds: float
    ) -> NameRow | None:
        """Claim the row's host as `claim_name` does and store the row, in one transaction.

        Return the name's row (if it has another owner, nothing was stored); None when the host is already reserved.
        """

    async def give_up_domain(self, row_id: str, at: float) -> DomainRow | None:
        """Delete a reserved domain and release its name, whose cool-down begins now.

        Return the row; None when it does not exist.
        """


class AuditStore(Protocol):
    """Stores audit events."""

    async def add_audit(self, rows: Sequence[AuditRow]) -> None:
        """Store audit events, in order."""

    async def audit(
        self,
        *,
        since: float = 0.0,
        before: int | None = None,
        host: str | None = None,
        kind: str | None = None,
        owner: str | None = None,
        limit: int = 100,
    ) -> list[AuditRow]:
        """Return audit events, the newest first, starting below the id `before`."""

    async def delete_audit(self, before: float) -> int:
        """Delete audit events older than this, at most `PURGED_AT_ONCE`. Return how many."""


class RevisionStore(Protocol):
    """Stores revision numbers, by which relays notice changes."""

    async def revisions(self) -> dict[str, int]:
        """Return a number for each kind of `resources.COLLECTIONS`, and for `tokens`, that grows with every change."""


class TrustRuleStore(Protocol):
    """Stores trust rules, which let CI jobs connect as agents."""

    @property
    def trust_rules(self) -> Collection[TrustRuleRow]:
        """The trust rules, which let CI jobs connect as agents."""


class ResourceStore(RevisionStore, TrustRuleStore, Protocol):
    """The collections of resources that users configure."""

    @property
    def users(self) -> Collection[UserRow]:
        """The users of the dashboard."""

    @property
    def api_keys(self) -> Collection[ApiKeyRow]:
        """The API keys of users."""

    @property
    def sign_ins(self) -> Collection[SignInRow]:
        """The browsers signed in to the dashboard, and one-time codes for signing in."""

    @property
    def domains(self) -> Collection[DomainRow]:
        """The reserved host names.

        They are added and deleted by `reserve_domain` and `give_up_domain`, not by the collection.
        """

    @property
    def backends(self) -> Collection[BackendRow]:
        """The tunnel groups."""

    @property
    def edges(self) -> Collection[EdgeRow]:
        """The edges: endpoints that exist in the store, even without a tunnel."""

    @property
    def providers(self) -> Collection[ProviderRow]:
        """The named OpenID providers."""

    async def delete_spent(self, now: float) -> int:
        """Delete expired rows, at most `PURGED_AT_ONCE` of each kind: tokens revoked `KEEP_REVOKED` ago, tokens and API
        keys that expired `KEEP_EXPIRED` ago, and expired sign-ins.

        Return how many were deleted.
        """


class HealthStore(Protocol):
    """Checks whether the store responds."""

    async def ping(self) -> None:
        """Return when the store has responded."""


class LoginStore(SessionStore, MarkStore, Protocol):
    """The parts of the store that logins use."""


class Store(TokenStore, LoginStore, NameStore, AuditStore, ResourceStore, HealthStore, Protocol):
    """The whole interface between the relay and its database. Callers should declare the smallest part they need.

    Every method may raise `StoreError`; methods that store texts may raise `UnstorableError`, and then store nothing.
    """

    async def close(self) -> None:
        """Close files and connections. May be called twice."""
