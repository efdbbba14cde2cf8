"""The rows that people set up: users, API keys, domains, edges, backends, providers, sign-ins.

Each kind is a `Collection` of rows with an id. The store keeps rows and their owners; `services` checks their values
and who may change them. Not here: sessions, names and events (`base.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The fields of every kind. Times are Unix seconds.

    Attributes:
        id: See `ids.py`: sorts by when it was made.
        owner: Its owner.
        version: 1 when it is added; every change adds one (`Collection.replace`).
    """

    id: str
    owner: str
    created_at: float
    updated_at: float
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRow(Row):
    """A user who may sign in to the dashboard.

    Attributes:
        name: Unique, for people.
        role: `admin` or `member`. A member sees and changes only what `owner` owns.
        issuer: With `subject`, who they are at the operator's OpenID provider; "" before they have signed in there.
        disabled_at: None while they may sign in.
        key: Unique: issuer and subject digested, or the id for who has none; no user is linked by an e-mail address.
    """

    name: str
    key: str
    role: str = "member"
    email: str = ""
    issuer: str = ""
    subject: str = ""
    last_seen_at: float | None = None
    disabled_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyRow(Row):
    """A key by which a program uses the API on behalf of a user.

    Attributes:
        digest: Unique. SHA-256 of the key; the key itself is shown once.
        scopes: What it may do; see `services.actor`.
        expires_at: None for never.
    """

    user_id: str
    digest: bytes
    scopes: tuple[str, ...]
    description: str = ""
    metadata: str = ""
    expires_at: float | None = None
    last_used_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInRow(Row):
    """A browser that is signed in to the dashboard, or a code that signs one in once.

    Attributes:
        key: Unique. SHA-256 of the cookie's or the code's value.
        kind: `session` or `code`.
    """

    user_id: str
    key: bytes
    kind: str
    last_seen_at: float
    expires_at: float
    peer: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainRow(Row):
    """A host name, or a tcp port, kept for an owner whether a tunnel serves it or not.

    Attributes:
        host: Unique, canonical; of a port `tcp://DOMAIN:PORT`.
        proto: `http`, or `tcp` for a port.
    """

    host: str
    description: str = ""
    metadata: str = ""
    proto: str = "http"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendRow(Row):
    """A tunnel group: the tunnels of the owner that carry every one of these labels."""

    labels: Pairs
    description: str = ""
    metadata: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeRow(Row):
    """A durable endpoint.

    Attributes:
        host: Unique: the domain it answers at; None while it has none.
        settings: JSON of its rules and of who serves it, without secrets; see `services.edge_settings`.
        sealed: Its secrets, sealed by the key ring; b"" without any.
        backend_id: The tunnel group that serves it; "" without one.
    """

    host: str | None
    settings: str
    sealed: bytes = b""
    backend_id: str = ""
    description: str = ""
    metadata: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRow(Row):
    """An OpenID provider set up once, which owners name as `@name` and whose client secret they never hold.

    Attributes:
        name: Unique.
        owners: Owners that may name it; empty for all.
        settings: JSON of its settings, without the secret; see `services.provider_settings`.
        sealed: The client secret, sealed by the key ring.
    """

    name: str
    owners: tuple[str, ...]
    settings: str
    sealed: bytes
    description: str = ""
    metadata: str = ""


R = TypeVar("R", bound=Row)


class Collection(Protocol[R]):
    """All rows of one kind. Every method may raise `StoreError`.

    Every change of a row, but for `touch`, also moves the kind's number in `Store.revisions`, in the same transaction.
    """

    async def add(self, row: R) -> bool:
        """Keeps a new row. False when its id, or something unique in it, exists already."""

    async def get(self, row_id: str) -> R | None:
        """The row, or None."""

    async def find(self, **equal: object) -> R | None:
        """The one row whose column has this value (a unique one), or None."""

    async def page(
        self, *, owner: str | None = None, before: str | None = None, limit: int = 100, **equal: object
    ) -> list[R]:
        """Rows, the newest first: only `owner`'s unless None, only those older than `before`, only those that match.

        Args:
            before: An id; whether its row still exists does not matter.
        """

    async def all(self, **equal: object) -> list[R]:
        """Every row that matches, the oldest first."""

    async def replace(self, row: R) -> bool:
        """Writes a changed row over the one whose version is one less. False when there is no such one any more, or
        something unique in it exists already."""

    async def touch(self, row_id: str, column: str, at: float) -> None:
        """Moves a time (`last_used_at`, `last_seen_at`) forward; neither version nor revision change."""

    async def delete(self, row_id: str, *, version: int | None = None) -> R | None:
        """Drops a row. Returns what it was; None when there was none (of this version)."""

    async def delete_where(self, **equal: object) -> list[R]:
        """Drops every row that matches; one criterion at least. Returns what they were."""


COLLECTIONS: Sequence[tuple[str, type[Row]]] = (
    ("users", UserRow),
    ("api_keys", ApiKeyRow),
    ("sign_ins", SignInRow),
    ("domains", DomainRow),
    ("backends", BackendRow),
    ("edges", EdgeRow),
    ("providers", ProviderRow),
)
"""Attribute of the store (and name of the table) of every kind."""
