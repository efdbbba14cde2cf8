"""The database tables, in SQLAlchemy Core. A change here needs a migration; `tests/store` compares the two.

A new database gets these tables at once (`make_tables`), an older one by the migrations it lacks.
"""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    insert,
    text,
)

from tunnelrelay.store.texts import CUT, counter, short_text

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)
"""Names for constraints, so that later migrations can refer to them on every database."""

_FOR_PEOPLE = {CUT: True}

tokens = Table(
    "tokens",
    metadata,
    Column("id", short_text(40), primary_key=True),
    Column("owner", short_text(200), nullable=False, index=True),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("created_at", Float, nullable=False),
    Column("last_used_at", Float),
    Column("revoked_at", Float, index=True),
    Column("description", short_text(255), nullable=False, server_default=text("''")),
    Column("metadata", Text, nullable=False, server_default=text("''")),
    Column("acl", JSON, nullable=False, server_default=text("'[]'")),
    Column("expires_at", Float),
    Column("user_id", short_text(40), nullable=False, server_default=text("''")),
)

Index(
    "ix_tokens_live",
    tokens.c.owner,
    tokens.c.id,
    sqlite_where=tokens.c.revoked_at.is_(None),
    postgresql_where=tokens.c.revoked_at.is_(None),
)
"""Index for lists of an owner's valid tokens; revoked tokens do not slow them down."""

sessions = Table(
    "sessions",
    metadata,
    Column("key", LargeBinary(32), primary_key=True),
    Column("host", short_text(255), nullable=False, index=True),
    Column("connection_id", short_text(200), nullable=False),
    Column("epoch", short_text(100), nullable=False),
    Column("issuer", short_text(2048), nullable=False),
    Column("subject", short_text(255), nullable=False),
    Column("email", short_text(320), nullable=False, info=_FOR_PEOPLE),
    Column("created_at", Float, nullable=False),
    Column("last_seen", Float, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("sid", LargeBinary(32)),
    Column("client_id", short_text(1024)),
)
Index("ix_sessions_person", sessions.c.subject, sessions.c.issuer)
"""Index for back-channel logouts that name a person instead of a session."""
Index("ix_sessions_at_connection", sessions.c.connection_id, sessions.c.subject)
"""Index for counting a person's sessions at a connection, which every login does."""
Index("ix_sessions_sid", sessions.c.connection_id, sessions.c.sid)
"""Index for back-channel logouts that name the provider's session."""
Index("ix_sessions_client", sessions.c.client_id, sessions.c.issuer)
"""Index for back-channel logouts of a client, even one that no endpoint uses any more."""

ended = Table(
    "ended",
    metadata,
    Column("key", LargeBinary(32), primary_key=True),
    Column("at", Float, nullable=False, index=True),
)
"""Sessions that were ended early, so that other relays on this store drop them too."""

used = Table(
    "used",
    metadata,
    Column("key", LargeBinary(64), primary_key=True),
    Column("expires_at", Float, nullable=False, index=True),
)
"""One-time marks (for values that a login may use only once) and leases (for work that one relay at a time may do)."""

names = Table(
    "names",
    metadata,
    Column("host", short_text(255), primary_key=True),
    Column("owner", short_text(200), nullable=False),
    Column("at", Float, nullable=False, index=True),
    Column("generation", Integer, nullable=False, server_default="1"),
    Column("released_at", Float),
)
"""The last owner of each host name: after a restart no other owner gets the name, and a stranger only after a
cool-down."""

Index("ix_names_owner", names.c.owner, names.c.released_at)
"""Index for a member's list of logins, which is selected by the owner's names, and for counting names in their
cool-down."""

audit = Table(
    "audit",
    metadata,
    Column("id", counter(), primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False, index=True),
    Column("kind", short_text(40), nullable=False, index=True),
    Column("host", short_text(255), nullable=False, info=_FOR_PEOPLE, index=True),
    Column("owner", short_text(200), nullable=False, info=_FOR_PEOPLE),
    Column("connection", short_text(200), nullable=False, info=_FOR_PEOPLE),
    Column("subject", short_text(64), nullable=False, info=_FOR_PEOPLE),
    Column("peer", short_text(64), nullable=False, info=_FOR_PEOPLE),
    Column("request_id", short_text(64), nullable=False, info=_FOR_PEOPLE),
    Column("node", short_text(64), nullable=False, info=_FOR_PEOPLE),
    Column("reason", short_text(200), nullable=False, info=_FOR_PEOPLE),
    Column("details", Text, nullable=False),
    Column("actor", short_text(40), nullable=False, server_default=text("''")),
)
"""Audit events about logins, sessions, names and keys. Contains no secrets; people are keyed digests."""
Index("ix_audit_owner", audit.c.owner, audit.c.id)
"""Index for a member's list of events; events of other owners do not slow it down."""


def _resource(name: str, *columns: Column[Any]) -> Table:
    """Return the table of one kind of `resources.COLLECTIONS`."""
    return Table(
        name,
        metadata,
        Column("id", short_text(40), primary_key=True),
        Column("owner", short_text(200), nullable=False, index=True),
        Column("created_at", Float, nullable=False),
        Column("updated_at", Float, nullable=False),
        Column("version", Integer, nullable=False),
        *columns,
    )


def _words() -> tuple[Column[str], Column[str]]:
    """Return the columns for the texts that an owner writes about a resource, for people and for programs."""
    return Column("description", short_text(255), nullable=False), Column("metadata", Text, nullable=False)


users = _resource(
    "users",
    Column("name", short_text(200), nullable=False, unique=True),
    Column("key", short_text(64), nullable=False, unique=True),
    Column("role", short_text(20), nullable=False),
    Column("email", short_text(320), nullable=False, info=_FOR_PEOPLE),
    Column("issuer", short_text(2048), nullable=False),
    Column("subject", short_text(255), nullable=False),
    Column("last_seen_at", Float),
    Column("disabled_at", Float),
)

api_keys = _resource(
    "api_keys",
    Column("user_id", short_text(40), nullable=False, index=True),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("scopes", JSON, nullable=False),
    *_words(),
    Column("expires_at", Float),
    Column("last_used_at", Float),
)

sign_ins = _resource(
    "sign_ins",
    Column("user_id", short_text(40), nullable=False, index=True),
    Column("key", LargeBinary(32), nullable=False, unique=True),
    Column("kind", short_text(20), nullable=False),
    Column("last_seen_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    Column("peer", short_text(64), nullable=False, info=_FOR_PEOPLE),
    Column("agent", short_text(255), nullable=False, info=_FOR_PEOPLE),
)

domains = _resource(
    "domains",
    Column("host", short_text(255), nullable=False, unique=True),
    *_words(),
    Column("proto", short_text(8), nullable=False, server_default=text("'http'")),
)

backends = _resource("backends", Column("labels", JSON, nullable=False), *_words())

edges = _resource(
    "edges",
    Column("host", short_text(255), unique=True),
    Column("settings", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("backend_id", short_text(40), nullable=False, index=True),
    *_words(),
)

providers = _resource(
    "providers",
    Column("name", short_text(64), nullable=False, unique=True),
    Column("owners", JSON, nullable=False),
    Column("settings", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    *_words(),
)

trust_rules = _resource(
    "trust_rules",
    Column("issuer", short_text(2048), nullable=False, index=True),
    Column("audience", short_text(1024), nullable=False),
    Column("claims", JSON, nullable=False),
    Column("acl", JSON, nullable=False),
    *_words(),
)

revisions = Table(
    "revisions",
    metadata,
    Column("kind", short_text(40), primary_key=True),
    Column("number", BigInteger, nullable=False),
)
"""The number of changes of each kind of resource, so that other relays on this store notice a change with one small
query."""

_applied = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""The table in which Alembic records the newest migration, as Alembic defines it."""


def make_tables(connection: Connection, revision: str) -> None:
    """Create all tables in a database that has none, and record that it is at this migration."""
    metadata.create_all(connection, checkfirst=False)
    _applied.create(connection, checkfirst=True)
    connection.execute(insert(_applied).values(version_num=revision))
