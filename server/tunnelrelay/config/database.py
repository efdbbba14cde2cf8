"""Reads the setting `database`: the URL of a PostgreSQL database, which may hold a password."""

import ipaddress
import os
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tunnelctl.secret_source import read_source

SCHEMES = ("postgresql", "postgres")
MAX_URL = 4096
_SECRETS = frozenset({"password", "sslpassword"})


class DatabaseUrl:
    """The URL of a PostgreSQL database, in the form of libpq. As a text it has no password and no options.

    Attributes:
        has_password: Whether the URL holds a password.
        has_sslmode: Whether the URL or the environment sets `sslmode`; if not, a database on another machine must have
            a certificate that this machine trusts.
        is_local: Whether the database is at a Unix socket or a loopback address.
    """

    __slots__ = ("_shown", "_url", "has_password", "has_sslmode", "is_local")

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        self._url = url
        self.has_password = parts.password is not None or not _SECRETS.isdisjoint(query)
        self.has_sslmode = "sslmode" in query or "PGSSLMODE" in os.environ
        where = parts.netloc.rpartition("@")[2] or ",".join(query.get("host", [])) or os.environ.get("PGHOST", "")
        hosts = [_host(place) for place in where.split(",")]
        is_told_elsewhere = "service" in query or "PGSERVICE" in os.environ
        self.is_local = not is_told_elsewhere and all(_is_local(host) for host in hosts)
        user = f"{parts.username}@" if parts.username else ""
        self._shown = f"postgresql://{user}{','.join(quote(host, safe=':') for host in hosts)}{parts.path}"

    def reveal(self) -> str:
        """Return the whole URL with its secrets, for the code that connects to the database."""
        return self._url

    def __eq__(self, other: object) -> bool:
        """Whether both have the same URL as a text."""
        return isinstance(other, DatabaseUrl) and self._url == other._url

    def __hash__(self) -> int:
        """Return the hash of the URL's text."""
        return hash(self._url)

    def __str__(self) -> str:
        """Return the URL for people, without password and options."""
        return self._shown

    def __repr__(self) -> str:
        """Return the URL for debugging, without password and options."""
        return f"DatabaseUrl({self._shown!r})"


def database_url(text: str) -> DatabaseUrl | None:
    """Read `postgresql://user@host/name`, or `file:PATH` or `env:NAME` that hold such a URL.

    Returns:
        The URL; None for `sqlite`, the file in the data directory.

    Raises:
        ValueError: The text is no such URL. The message does not repeat the text, which may hold a password.
    """
    if text == "sqlite":
        return None
    text = read_source(text, os.environ)
    try:
        parts = urlsplit(text)
        is_one = parts.scheme in SCHEMES and len(text) <= MAX_URL and text.isprintable() and " " not in text
    except ValueError:
        is_one = False
    if not is_one:
        raise ValueError("this is no database's URL; it looks like `postgresql://user@db.example/tunnelrelay`")
    return DatabaseUrl(text)


def has_password(text: str) -> bool:
    """Whether a value of the setting `database` is itself a URL with a password, not the name of a file or variable."""
    try:
        return text.startswith(SCHEMES) and DatabaseUrl(text).has_password
    except ValueError:
        return True  # a text that cannot be parsed may hold one


def _host(place: str) -> str:
    """Return the host of a `HOST:PORT` in a database's URL, as in `db.example:5432`."""
    if place.startswith("["):
        return place[1:].partition("]")[0]
    return unquote(place).partition(":")[0]


def _is_local(host: str) -> bool:
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
