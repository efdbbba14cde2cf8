"""The store's interface: tokens, visitors' sessions, one-time marks, names, the audit log, and what people set up.

Live state (which tunnel serves a name) is not stored, and no secret in the clear. Every implementation passes
`tests/store/test_contract.py`. Next: `resources.py` (what people set up), then `sql_store.py`.

Times are Unix seconds, given by the caller: a store has no clock. Several relays may share one store; calls on which
they must agree (`use_once`, `lease`, `replace_session`, `claim_name`) are decided by the store, in one
transaction.
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
    UserRow,
)

ENDED_SECONDS = 3600.0
"""How long the key of an ended session is kept for other relays: far longer than one can go without polling."""

KEEP_REVOKED = 7 * 86_400.0
"""Seconds that a revoked token can still be listed at the relay's terminal. The audit log keeps who revoked it."""
KEEP_EXPIRED = 30 * 86_400.0
"""Seconds that a token or API key whose time is over is still shown, so that its owner sees why it is not good."""
PURGED_AT_ONCE = 1000
"""Rows of a kind that one clean-up drops in one transaction: some milliseconds of the database's one writer."""
MAX_COOLING = 4096
"""Names in their cool-down that are told of one owner: host names only, 1 MB."""
MAX_COOLED = 50_000
"""Names in their cool-down among which those are looked for, some 50 ms of the database. An owner who binds generated
names without end, two a second, needs seven hours to make so many."""
FREED_AT = -1e15
"""When a name was given up that an operator freed: longer ago than any cool-down."""


class StoreError(Exception):
    """The store failed: away, full, locked or damaged. Access checks refuse then (fail closed).

    Attributes:
        hint: What an operator can do about it; "" without a specific hint.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UnstorableError(StoreError):
    """A text is too long, or has characters that not every database takes. The store works; a retry does not help.

    Attributes:
        field: The field's name.
        problem: What is wrong with it, without its content.
    """

    def __init__(self, table: str, field: str, problem: str) -> None:
        super().__init__(f"`{field}` in `{table}` cannot be kept: it {problem}")
        self.field = field
        self.problem = problem


class StoreTooNewError(StoreError):
    """The database was written by a newer release; this one must not touch it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """The row of a visitor's login.

    Attributes:
        key: SHA-256 of the session id. A reader of the store cannot forge a cookie from it.
        host: The only endpoint that the session is valid for.
        connection_id: The OpenID connection that vouched for it.
        epoch: Digest of that connection's configuration at login.
        expires_at: Absolute end; activity never moves it.
        sealed: The rest (claims, provider's tokens), sealed by the key ring; a store never opens it.
        version: Grows by one with every change of the record; `replace_session` compares it.
        sid: SHA-256 of the provider's own session id, by which a back-channel logout may name it; None without one.
        client_id: The client at `issuer` of the login. By both a relay can check logout tokens without the endpoint's
            settings. None for rows of the first release.
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
    """A session without its sealed part, for lists: with it a hundred thousand would take gigabytes."""

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
    """Criteria that select sessions: all given values must match. Without any value no session matches.

    Attributes:
        hosts: Those at any of these hosts; an empty set matches none.
        sid: As in `SessionRow`.
        live_at: Those that have not expired by then; given alone it matches all live sessions.
        owner: Those at this owner's hosts: names it holds or held last, its domains, its edges.
        handle: Those whose key begins with these bytes.
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
    """A host name and its holder, or last holder.

    Attributes:
        at: When its holder last claimed or refreshed it.
        generation: Grows by one whenever the name changes owner; sessions and logins of other generations are void.
        released_at: When it was given up; None while it is held (or its relay died with it).
    """

    host: str
    owner: str
    at: float
    generation: int = 1
    released_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """The row of an audit event; `observe/audit.py` describes the fields.

    Attributes:
        id: Grows with every event; 0 until it is stored.
        subject: Keyed digest of issuer and subject, "" when no person is meant.
        node: Which relay wrote it.
        details: JSON object of further texts.
        actor: Id of the user who did it, by the dashboard or the API; "" for none.
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
    """Agents' authtokens."""

    async def add_token(self, token: Token, digest: bytes) -> None:
        """Keeps a new token. Raises StoreError when its id or digest exists already."""

    async def tokens(self, owner: str | None = None) -> list[Token]:
        """All tokens, revoked ones too, oldest first; only `owner`'s unless None."""

    async def token(self, token_id: str) -> Token | None:
        """The token, also a revoked one, or None."""

    async def token_page(self, *, owner: str | None = None, before: str | None = None, limit: int = 100) -> list[Token]:
        """Tokens that are not revoked, by id downwards, only those below `before`."""

    async def change_token(self, before: Token, after: Token) -> bool:
        """Write those of description, metadata, ACL and expiry in which the two differ, one at least: two users who
        change different ones at once undo nothing of each other's. False when there is no such token."""

    async def revoke_token(self, token_id: str, at: float) -> Token | None:
        """Revoke a token. Returns it, or None when there is none. A second revocation does not change the time."""

    async def revoked_tokens(self, since: float) -> list[str]:
        """Ids of the tokens revoked at or after `since`."""

    async def token_by_digest(self, digest: bytes) -> Token | None:
        """The token with this digest; None when unknown or revoked. The caller checks its expiry."""

    async def touch_token(self, token_id: str, at: float) -> None:
        """Note the last use; an older time than the stored one changes nothing."""


class SessionStore(Protocol):
    """Visitors' sessions."""

    async def save_session(self, row: SessionRow) -> None:
        """Keeps a new session, replacing one with the same key."""

    async def replace_session(self, row: SessionRow) -> bool:
        """Writes a changed session over the one whose version is one less. False when there is no such one any more."""

    async def load_session(self, key: bytes) -> SessionRow | None:
        """The session, whether expired or not (the caller holds the clock), or None."""

    async def sessions(
        self, criteria: SessionCriteria | None = None, *, limit: int = 1000, after: SessionHolder | None = None
    ) -> list[SessionHolder]:
        """The sessions that match, or all without criteria, the most recently used first.

        Args:
            after: Only those that come after this one.
        """

    async def connections(self, criteria: SessionCriteria, *, limit: int) -> list[str]:
        """Ids of the connections of the sessions that match, each once, sorted."""

    async def touch_session(self, key: bytes, last_seen: float) -> None:
        """Notes activity. Never moves it backwards and never brings back a deleted session."""

    async def end_sessions(self, criteria: SessionCriteria, at: float) -> list[bytes]:
        """End the sessions that match, all or none, and record them for `ended_since`. Returns their keys."""

    async def revoke_sessions(self, criteria: SessionCriteria, at: float) -> list[SessionHolder]:
        """End the sessions that match as `end_sessions` does; return who was signed in."""

    async def end_oldest(self, criteria: SessionCriteria, keep: int, at: float) -> list[bytes]:
        """End all that match but the `keep` most recently used, as `end_sessions` does."""

    async def ended_since(self, at: float) -> list[bytes]:
        """Keys of the sessions ended at or after `at`, for `ENDED_SECONDS`."""

    async def delete_expired(self, now: float) -> int:
        """Drops sessions and one-time marks whose `expires_at` is at or before `now`. Returns how many."""


class MarkStore(Protocol):
    """One-time marks and leases: of all relays one caller gets each."""

    async def use_once(self, key: bytes, expires_at: float) -> bool:
        """True for the first caller with this key, False for every later one until the mark has expired and gone."""

    async def lease(self, key: bytes, now: float, until: float) -> bool:
        """Take a lease. True when it was free; it is the caller's until `give_back`, or until `until` has passed."""

    async def give_back(self, key: bytes) -> None:
        """End a lease. A missing one is no error."""


class NameStore(Protocol):
    """Host names and their holders."""

    async def claim_name(
        self, host: str, owner: str, at: float, *, lost_seconds: float, cool_seconds: float
    ) -> NameRow:
        """Give a name to an owner if the owner may have it. Returns the row, which names who has it.

        An owner may have a name that has no holder, that was the owner's last, or whose holder gave it up (or was last
        seen, plus `lost_seconds`) at least `cool_seconds` ago; never one that another owner has reserved (`domains`). A
        change of owner adds one to its generation.
        """

    async def touch_names(self, hosts: Sequence[str], at: float) -> None:
        """Refresh the time of names that are still held."""

    async def release_name(self, host: str, owner: str, at: float) -> None:
        """Note that this owner gave the name up; no change when the owner does not hold it."""

    async def name(self, host: str) -> NameRow | None:
        """The row of a name; None when it never had a holder."""

    async def names(self, since: float) -> list[NameRow]:
        """The names held at or after `since` and not given up, by host."""

    async def all_names(self, owner: str | None = None) -> list[NameRow]:
        """Every name that was ever held, by host; only those that `owner` held last unless None."""

    async def free_name(self, host: str) -> NameRow | None:
        """End a name's cool-down now. Returns its new row (`FREED_AT`), None when unknown."""

    async def forget_names(self, is_meant: Callable[[str], bool], before: float) -> int:
        """Delete the names that match and were not held since `before`, with their generations, but not reserved ones.

        Returns how many.
        """

    async def cooling_names(self, owner: str, since: float, *, unlike: str) -> list[str]:
        """Host names that this owner held last and gave up after `since`, `MAX_COOLING` at most.

        Args:
            unlike: A regular expression; hosts that begin like it are left out, and count towards no limit. Only the
                `MAX_COOLED` names given up last are looked at.
        """

    async def cooling_ports(self, owner: str, since: float) -> list[str]:
        """The tcp ports that this owner held last and gave up after `since`, as hosts."""

    async def reserve_domain(
        self, row: DomainRow, at: float, *, lost_seconds: float, cool_seconds: float
    ) -> NameRow | None:
        """Claim the row's host as `claim_name` does and store the row, both or neither.

        Returns the name's row (of another owner: nothing was stored); None when the host is reserved already.
        """

    async def give_up_domain(self, row_id: str, at: float) -> DomainRow | None:
        """Delete a reserved domain and release its name, whose cool-down begins now. None when there is none."""


class AuditStore(Protocol):
    """Audit events."""

    async def add_audit(self, rows: Sequence[AuditRow]) -> None:
        """Keeps audit events, in order."""

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
        """Audit events, the newest first; only those with an id below `before`, to read on."""

    async def delete_audit(self, before: float) -> int:
        """Drops audit events older than this, `PURGED_AT_ONCE` at most. Returns how many."""


class RevisionStore(Protocol):
    """Revision numbers, by which relays notice changes."""

    async def revisions(self) -> dict[str, int]:
        """A number for each kind of `resources.COLLECTIONS`, and `tokens`, that grows with every change."""


class ResourceStore(RevisionStore, Protocol):
    """The collections of what people set up."""

    @property
    def users(self) -> Collection[UserRow]:
        """Users of the dashboard."""

    @property
    def api_keys(self) -> Collection[ApiKeyRow]:
        """API keys."""

    @property
    def sign_ins(self) -> Collection[SignInRow]:
        """Browsers signed in to the dashboard, and one-time codes."""

    @property
    def domains(self) -> Collection[DomainRow]:
        """Reserved host names. Added and deleted by `reserve_domain` and `give_up_domain`, not by the collection."""

    @property
    def backends(self) -> Collection[BackendRow]:
        """Tunnel groups."""

    @property
    def edges(self) -> Collection[EdgeRow]:
        """Durable endpoints."""

    @property
    def providers(self) -> Collection[ProviderRow]:
        """Named OpenID providers."""

    async def delete_spent(self, now: float) -> int:
        """Delete expired rows, `PURGED_AT_ONCE` of a kind at most: tokens that were revoked
        `KEEP_REVOKED` ago, tokens and API keys that expired `KEEP_EXPIRED` ago, sign-ins whose time is over.

        Returns how many.
        """


class HealthStore(Protocol):
    """The check whether the store answers."""

    async def ping(self) -> None:
        """Returns when the store answers."""


class LoginStore(SessionStore, MarkStore, Protocol):
    """The parts of the store that logins use."""


class Store(TokenStore, LoginStore, NameStore, AuditStore, ResourceStore, HealthStore, Protocol):
    """The whole interface between the relay and its database. Callers declare the smallest part that they need.

    Every method may raise `StoreError`; those that store texts `UnstorableError`, and then store nothing.
    """

    async def close(self) -> None:
        """Close files and connections. Safe to call twice."""
