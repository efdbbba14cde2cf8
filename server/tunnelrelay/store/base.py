"""What a store offers: tokens, visitors' sessions, one-time marks, names, the audit log, and what people set up.

Not here: anything live (who serves a name right now) and anything secret in the clear. Every implementation passes
`tests/store/test_contract.py`. Next: `resources.py` (what people set up), then `sql_store.py`.

Times are Unix seconds, given by the caller: a store has no clock. Several relays may share one store; what one of them
must not do behind another's back (`use_once`, `lease`, `replace_session`, `claim_name`) is decided by the store, in one
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
"""Names in their cool-down that are looked at for one owner: host names only, 1 MB."""
FREED_AT = -1e15
"""When a name was given up that an operator freed: longer ago than any cool-down."""


class StoreError(Exception):
    """The store could not do it: away, full, locked or damaged. Callers that guard something refuse (fail closed).

    Attributes:
        hint: What an operator can do about it, "" when that is as for any database.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UnstorableError(StoreError):
    """A text is too long, or is no text, to every database. The store is well; asking again is of no use.

    Attributes:
        field: Which one.
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
    """A visitor's login as it lies in the store.

    Attributes:
        key: SHA-256 of the session id. A reader of the store cannot forge a cookie from it.
        host: The endpoint the session is good for, and no other.
        connection_id: The OpenID connection that vouched for it.
        epoch: Digest of that connection's configuration at login.
        expires_at: Absolute end; activity never moves it.
        sealed: The rest (claims, provider's tokens), sealed by the key ring; a store never opens it.
        version: Grows by one with every change of the record; `replace_session` compares it.
        sid: SHA-256 of the provider's own session id, by which a back-channel logout may name it; None without one.
        client_id: The client at `issuer` that it was signed in with: with both, anybody can tell where the provider's
            keys are and whom it must mean. None for rows of the first release.
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
    """A session without its sealed part: for lists, which would else take gigabytes for a hundred thousand."""

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
class Whose:
    """Which sessions are meant: those for which everything given holds. Nothing given means none at all.

    Attributes:
        hosts: Those at any of these hosts; none of them when it is empty.
        sid: As in `SessionRow`.
        live_at: Those that have not expired by then; given alone it means all sessions.
        owner: Those at hosts that are this owner's now: names it holds or held last, its domains, its edges.
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
    """A host name and who holds it, or held it last.

    Attributes:
        at: When its holder was last seen holding it.
        generation: Grows by one whenever the name changes hands; what was made for another generation is void.
        released_at: When it was given up; None while it is held (or its relay died with it).
    """

    host: str
    owner: str
    at: float
    generation: int = 1
    released_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One audit event. See `observe/audit.py` for what the words mean.

    Attributes:
        id: Grows with every event; 0 until it is kept.
        subject: Keyed digest of issuer and subject, "" when no person is meant.
        node: Which relay wrote it.
        details: JSON object of further texts.
        actor: Id of the user whose doing it was, through the dashboard or the API; "" when it was no user's.
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

    async def change_token(self, token: Token) -> bool:
        """Writes what an owner may change: description, metadata, ACL and expiry. False when there is none."""

    async def revoke_token(self, token_id: str, at: float) -> Token | None:
        """The token as it is after revoking, or None when there is none. The first revocation's time stays."""

    async def revoked_tokens(self, since: float) -> list[str]:
        """Ids of the tokens revoked at or after `since`."""

    async def token_by_digest(self, digest: bytes) -> Token | None:
        """The token with this digest; None when unknown or revoked. Whether it has expired the caller's clock tells."""

    async def touch_token(self, token_id: str, at: float) -> None:
        """Notes the last use; an older time than the noted one changes nothing."""


class SessionStore(Protocol):
    """Visitors' sessions."""

    async def save_session(self, row: SessionRow) -> None:
        """Keeps a new session, replacing one with the same key."""

    async def replace_session(self, row: SessionRow) -> bool:
        """Writes a changed session over the one whose version is one less. False when there is no such one any more."""

    async def load_session(self, key: bytes) -> SessionRow | None:
        """The session, whether expired or not (the caller holds the clock), or None."""

    async def sessions(
        self, whose: Whose | None = None, *, limit: int = 1000, after: SessionHolder | None = None
    ) -> list[SessionHolder]:
        """The sessions meant, or all of them, the most recently used first.

        Args:
            after: Only those that come after this one.
        """

    async def connections(self, whose: Whose, *, limit: int) -> list[str]:
        """Ids of the connections that vouched for the sessions meant, each once, in their order."""

    async def touch_session(self, key: bytes, last_seen: float) -> None:
        """Notes activity. Never moves it backwards and never brings back a deleted session."""

    async def end_sessions(self, whose: Whose, at: float) -> list[bytes]:
        """Ends the sessions meant, all of them or none, and tells `ended_since`. Returns their keys."""

    async def revoke_sessions(self, whose: Whose, at: float) -> list[SessionHolder]:
        """End the sessions meant as `end_sessions` does; return who was signed in."""

    async def end_oldest(self, whose: Whose, keep: int, at: float) -> list[bytes]:
        """Ends all but the `keep` most recently used of them, as `end_sessions` does."""

    async def ended_since(self, at: float) -> list[bytes]:
        """Keys of the sessions ended at or after `at`, for `ENDED_SECONDS`."""

    async def delete_expired(self, now: float) -> int:
        """Drops sessions and one-time marks whose `expires_at` is at or before `now`. Returns how many."""


class MarkStore(Protocol):
    """One-time marks and leases, which one caller of all relays gets."""

    async def use_once(self, key: bytes, expires_at: float) -> bool:
        """True for the first caller with this key, False for every later one until the mark has expired and gone."""

    async def lease(self, key: bytes, now: float, until: float) -> bool:
        """True when this lease is free; then the caller does, until it is given back or `until` has passed."""

    async def give_back(self, key: bytes) -> None:
        """Ends a lease; none is no error."""


class NameStore(Protocol):
    """Host names and who holds them."""

    async def claim_name(
        self, host: str, owner: str, at: float, *, lost_seconds: float, cool_seconds: float
    ) -> NameRow:
        """Gives a name to an owner if it may be theirs. Returns who has it afterwards.

        It may when no owner has it, when it was theirs last, or when its holder gave it up (or was last seen, plus
        `lost_seconds`) at least `cool_seconds` ago. Never when another owner has reserved it (`domains`). A change of
        hands adds one to its generation.
        """

    async def touch_names(self, hosts: Sequence[str], at: float) -> None:
        """Notes that these names are still held."""

    async def release_name(self, host: str, owner: str, at: float) -> None:
        """Notes that this owner gave the name up; nothing happens when it is not theirs."""

    async def name(self, host: str) -> NameRow | None:
        """Who holds this name, or held it last; None when no owner ever did."""

    async def names(self, since: float) -> list[NameRow]:
        """The names held at or after `since` and not given up, by host."""

    async def all_names(self, owner: str | None = None) -> list[NameRow]:
        """Every name that was ever held, by host; only those that `owner` held last unless None."""

    async def free_name(self, host: str) -> NameRow | None:
        """Ends a name's cool-down, whatever is left of it. Returns it as it is then (`FREED_AT`), None when unknown."""

    async def forget_names(self, is_meant: Callable[[str], bool], before: float) -> int:
        """Drops the hosts meant that were not held since `before`, with their generations, but for reserved ones.

        Returns how many.
        """

    async def cooling_names(self, owner: str, since: float) -> list[str]:
        """Hosts that this owner held last and gave up after `since`, `MAX_COOLING` at most."""

    async def reserve_domain(
        self, row: DomainRow, at: float, *, lost_seconds: float, cool_seconds: float
    ) -> NameRow | None:
        """Claims the row's host as `claim_name` does and keeps the row, both or neither.

        Returns who has the name afterwards (another owner: nothing was kept); None when the host is reserved already.
        """

    async def give_up_domain(self, row_id: str, at: float) -> DomainRow | None:
        """Drops a reserved domain and releases its name: the cool-down begins, however long ago its last tunnel left.

        None when there is none.
        """


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
    """What has changed since it was read last."""

    async def revisions(self) -> dict[str, int]:
        """For every kind of `resources.COLLECTIONS`, and `tokens`, a number that grows with every change."""


class ResourceStore(RevisionStore, Protocol):
    """What people set up."""

    @property
    def users(self) -> Collection[UserRow]:
        """Who may sign in to the dashboard."""

    @property
    def api_keys(self) -> Collection[ApiKeyRow]:
        """What programs show to the API."""

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
    """Whether the store is there."""

    async def ping(self) -> None:
        """Returns when the store answers."""


class LoginStore(SessionStore, MarkStore, Protocol):
    """What the login needs."""


class Store(TokenStore, LoginStore, NameStore, AuditStore, ResourceStore, HealthStore, Protocol):
    """Everything: the seam between the relay and its database. Users ask for the smallest part that they need.

    Every method may raise `StoreError`; those that keep texts `UnstorableError`, of which nothing was kept then.
    """

    async def close(self) -> None:
        """Lets go of files and connections. Safe to call twice."""
