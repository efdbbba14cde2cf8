"""The rows of resources that users configure: users, API keys, domains, edges, backends, providers, trust rules,
sign-ins.

Each kind is a `Collection` of rows with an id. The store keeps rows and their owners; `services` checks their values
and who may change them. Sessions, names and events are in `base.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The fields that rows of all kinds have. Times are Unix seconds.

    Attributes:
        id: Id that sorts by creation time; see `ids.py`.
        owner: Owner of the resource.
        version: 1 for a new row; every change adds one (`Collection.replace`).
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
        name: Unique name, for display.
        role: `admin` or `member`. A member can see and change only resources of `owner`.
        issuer: With `subject`, the user's identity at the operator's OpenID provider; "" before the first sign-in
            there.
        disabled_at: Time at which the user was disabled; None while the user may sign in.
        key: Unique key: digest of issuer and subject, or the id without them. E-mail addresses never link a user to an
            identity.
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
    """A key with which a program uses the API on behalf of a user.

    Attributes:
        digest: SHA-256 of the key, unique; the key itself is shown only once.
        scopes: What the key may do; see `services.actor`.
        expires_at: Time of expiry; None for never.
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
    """A browser that is signed in to the dashboard, or a one-time code for signing in.

    Attributes:
        key: SHA-256 of the value of the cookie or code, unique.
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
    """A host name, or a TCP port, reserved for an owner whether a tunnel serves it or not.

    Attributes:
        host: Canonical host, unique; for a port `tcp://DOMAIN:PORT`.
        proto: `http`, or `tcp` for a port.
    """

    host: str
    description: str = ""
    metadata: str = ""
    proto: str = "http"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendRow(Row):
    """A tunnel group: all tunnels of the owner that have every one of these labels."""

    labels: Pairs
    description: str = ""
    metadata: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeRow(Row):
    """An edge: an endpoint that exists in the store, whether a tunnel serves it or not.

    Attributes:
        host: Host name of the edge, unique; None without one.
        settings: JSON of its rules and backend, without secrets; see `services.edge_settings`.
        sealed: Its secrets, encrypted by the key ring; b"" without any.
        backend_id: Id of the tunnel group that serves it; "" without one.
    """

    host: str | None
    settings: str
    sealed: bytes = b""
    backend_id: str = ""
    description: str = ""
    metadata: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRow(Row):
    """A named OpenID provider, which owners use as `@name` without knowing its client secret.

    Attributes:
        name: Unique name.
        owners: Owners that may use it; empty for all.
        settings: JSON of its settings, without the secret; see `services.provider_settings`.
        sealed: The client secret, encrypted by the key ring.
    """

    name: str
    owners: tuple[str, ...]
    settings: str
    sealed: bytes
    description: str = ""
    metadata: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustRuleRow(Row):
    """A trust rule: which CI jobs may connect as agents of the owner, with their own ID tokens, and what they may
    serve.

    Attributes:
        issuer: Issuer of the tokens, without a trailing slash.
        audience: Required audience of a job's token.
        claims: (name, value) pairs; a job's token must have every one of them.
        acl: What a job's agent may serve, as in `Token.acl`; never empty.
    """

    issuer: str
    audience: str
    claims: Pairs
    acl: tuple[str, ...]
    description: str = ""
    metadata: str = ""


R = TypeVar("R", bound=Row)


@dataclass(frozen=True, slots=True)
class Named:
    """Selects the rows of one kind that have a given value in a column.

    Attributes:
        kind: A name of `COLLECTIONS`.
    """

    kind: str
    column: str
    value: object


@dataclass(frozen=True, slots=True)
class Uses:
    """Selects the rows of one kind that use a row of another kind.

    Attributes:
        kind: A name of `COLLECTIONS`.
        is_use: Function that returns whether a row of this kind uses that row.
    """

    kind: str
    is_use: Callable[[Any], bool]


class Collection(Protocol[R]):
    """All rows of one kind of resource. Every method may raise `StoreError`.

    Every change of a row except `touch` also increments the kind's number in `Store.revisions`, in the same
    transaction.
    """

    async def add(self, row: R, *, needs: Sequence[Named] = ()) -> bool:
        """Store a new row. Return False when its id, or another unique value, already exists, or a needed row does not.

        Args:
            needs: Rows that the new row needs. At least one row of each selection must exist, even if another relay
                deletes rows at the same time.
        """

    async def get(self, row_id: str) -> R | None:
        """Return the row with this id; None when it does not exist."""

    async def find(self, **equal: object) -> R | None:
        """Return the row whose unique column has this value; None when there is none."""

    async def page(
        self, *, owner: str | None = None, before: str | None = None, limit: int = 100, **equal: object
    ) -> list[R]:
        """Return rows, the newest first: only those of `owner` unless None, older than `before`, and matching the
        criteria.

        Args:
            before: An id; its row need not exist any more.
        """

    async def all(self, **equal: object) -> list[R]:
        """Return every row that matches, the oldest first."""

    async def replace(self, row: R, *, needs: Sequence[Named] = ()) -> bool:
        """Replace a row by its changed version, if the stored version is one less.

        Return False if the version differs, if the row is gone, if another row has a unique value of it, or if a needed
        row does not exist.

        Args:
            needs: As for `add`.
        """

    async def touch(self, row_id: str, column: str, at: float) -> None:
        """Move a time (`last_used_at`, `last_seen_at`) forward, without changing version or revision."""

    async def delete(
        self,
        row_id: str,
        *,
        version: int | None = None,
        along: Sequence[Named] = (),
        unless: Uses | None = None,
    ) -> R | None:
        """Delete a row and return it; None when it does not exist (in this version), or another row uses it.

        Args:
            along: Rows of other kinds that are deleted with it, in the same transaction.
            unless: Rows of another kind that use this row; any such row prevents the deletion, even one that another
                relay adds at the same time.
        """

    async def delete_where(self, **equal: object) -> list[R]:
        """Delete every row that matches (at least one criterion is required) and return them."""


COLLECTIONS: Sequence[tuple[str, type[Row]]] = (
    ("users", UserRow),
    ("api_keys", ApiKeyRow),
    ("sign_ins", SignInRow),
    ("domains", DomainRow),
    ("backends", BackendRow),
    ("edges", EdgeRow),
    ("providers", ProviderRow),
    ("trust_rules", TrustRuleRow),
)
"""Each kind of resource: the store's attribute, which is also the table's name, and the class of its rows."""
