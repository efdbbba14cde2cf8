"""Readers of single settings: functions that convert a setting's text to the value that the relay uses.

Every reader raises ValueError with a message for people. All are pure, except those that look at files. Next:
`sources.py`, then `config.py`.
"""

import ipaddress
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tunnelctl.wire.texts import is_name

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_OWNER_LENGTH = 64
MAX_DOMAIN_LENGTH = 190
"""Characters of the relay's domain. A host name has at most 253, and a label of 63 with its dot must fit before it."""


class ListenAddress(NamedTuple):
    """A host and port to listen on.

    Attributes:
        host: IP address or host name; "" means every interface.
        port: TCP port; 0 lets the system choose.
    """

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether the address is loopback, so that only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class PortRange(NamedTuple):
    """A range of TCP ports that agents may bind.

    Attributes:
        host: Host to listen on, as in `ListenAddress`; None for the host that the relay's visitors connect to.
        first, last: The first and the last port of the range, both included.
    """

    host: str | None
    first: int
    last: int

    @property
    def ports(self) -> range:
        """Every port of the range."""
        return range(self.first, self.last + 1)

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


class PublicOrigin(NamedTuple):
    """Scheme, domain and port of the relay's public URLs, when a proxy in front makes them differ from the listener's.

    Attributes:
        port: The port in the setting `public_url`, or the scheme's default.
    """

    scheme: str
    domain: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The description of one setting, from which the docs and `--help` are made.

    Attributes:
        read: Converts a text to the setting's value; raises ValueError.
        doc: What the setting does, in a sentence for people.
        unit: The unit of a number; "" for settings without one.
        shape: The form of a value, for `--help` and the docs.
        is_list: Whether the setting may be given several times, comma separated, or as a TOML array.
        is_table: Whether values are tables, `[[name]]` in TOML; a flag or variable gives one table as JSON.
        is_number: Whether values are whole numbers, which need no quotes in a TOML array.
        is_path: Whether the value is a path; in the configuration file it is relative to the file.
        has_secret: Whether a text holds a secret; then a flag may not give it, as all users of the machine can read
            command lines.
    """

    read: Callable[[str], Any]
    doc: str
    shape: str
    unit: str = ""
    is_list: bool = False
    is_table: bool = False
    is_number: bool = False
    is_path: bool = False
    has_secret: Callable[[str], bool] = lambda _text: False


def setting(read: Callable[[str], Any], doc: str, *, shape: str, default: Any = None, **more: Any) -> Any:
    """Return a dataclass field with a `Setting` in its metadata.

    The type is `Any`, as `dataclasses.field` is typed by its default.
    """
    factory = more.pop("factory", None)
    metadata = {"setting": Setting(read=read, doc=doc, shape=shape, **more)}
    if factory is not None:
        return field(default_factory=factory, metadata=metadata)
    return field(default=default, metadata=metadata)


def listen_address(text: str) -> ListenAddress:
    """Read `host:port`, `[v6]:port`, `:port` (every interface) or `port` (loopback only)."""
    host, _, port_text = text.rpartition(":") if ":" in text else ("127.0.0.1", "", text)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"`{text}`: an IPv6 address is written in brackets, as in `[::1]:8080`")
    if not port_text.isascii() or not port_text.isdigit() or int(port_text) > 65535:
        raise ValueError(f"`{text}` is no address to listen on; it looks like `127.0.0.1:8080`")
    return ListenAddress(host, int(port_text))


def listen_address_or_off(text: str) -> ListenAddress | None:
    """Read an address as `listen_address` does, or `off`, which gives None."""
    return None if text == "off" else listen_address(text)


def domain_name(text: str) -> str:
    """Read a domain name of letters, digits and hyphens. Returns it in lower case, without a trailing dot."""
    name = text.lower().removesuffix(".")
    if name.startswith("*."):
        raise ValueError(f"`{text}`: give the domain without `*.`, endpoints live under it anyway")
    if len(name) > MAX_DOMAIN_LENGTH:
        raise ValueError(f"the domain has {len(name)} characters, more than {MAX_DOMAIN_LENGTH}")
    labels = name.split(".")
    if not all(map(is_name, labels)):
        raise ValueError(f"`{text}` is no domain name; international names are written in their `xn--` form")
    if labels[-1].isdigit():
        raise ValueError(f"`{text}` is an IP address; endpoints need a domain to live under")
    return name


def public_url(text: str) -> PublicOrigin:
    """Read the relay's public URL, `https://*.tun.example[:port]`; the `*.` may be left out."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError(f"`{text}` is no public URL; it looks like `https://*.tun.example`")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"`{text}`: a public URL has no path; it looks like `https://*.tun.example`")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return PublicOrigin(parts.scheme, domain_name(parts.hostname.removeprefix("*.")), port)


def callback_url(text: str) -> str:
    """Read a whole redirect URI. Plain http is allowed only for `localhost`, as OpenID providers do."""
    parts = urlsplit(text)
    is_plain = text.isascii() and text.isprintable() and " " not in text  # `urlsplit` drops line ends; we send `text`
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in text or not parts.path or not is_plain:
        raise ValueError(f"`{text}` is no callback URL; it looks like `https://idp.tun.example/oauth2/callback`")
    if parts.query or parts.fragment:
        raise ValueError(f"`{text}`: a callback URL has no query and no fragment (providers compare it as text)")
    if parts.scheme == "http" and not is_localhost(parts.hostname) and parts.hostname != "127.0.0.1":
        raise ValueError(f"`{text}`: a callback over plain http hands login codes to anyone on the way; use https")
    return text


def network(text: str) -> IPNetwork:
    """Read a network such as `10.0.0.0/8`, or a single address. Host bits are an error, as they hint at a mistake."""
    try:
        return ipaddress.ip_network(text)
    except ValueError as problem:
        raise ValueError(f"`{text}` is no network: {problem}") from problem


def seconds(low: float, high: float, *, has_off: bool = False) -> Callable[[str], float]:
    """Return a reader of seconds between `low` and `high`; with `has_off` it also allows 0."""
    return _amount(low, high, "seconds", has_off=has_off)


def days(low: float, high: float) -> Callable[[str], float]:
    """Return a reader of days between `low` and `high`."""
    return _amount(low, high, "days")


def true_or_false(text: str) -> bool:
    """Read `true` or `false`, as TOML writes them."""
    if text.lower() not in ("true", "false"):
        raise ValueError(f"`{text}` is neither true nor false")
    return text.lower() == "true"


def owner(text: str) -> str:
    """Read the name of an owner, as `token create --owner` takes it."""
    if not text or len(text) > MAX_OWNER_LENGTH or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"`{text[:80]}` is no owner's name")
    return text


def count(low: int, high: int) -> Callable[[str], int]:
    """Return a reader of whole numbers between `low` and `high`."""

    def read(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or not low <= int(text[:20]) <= high:
            raise ValueError(f"`{text[:80]}` is no whole number between {low} and {high}")
        return int(text)

    return read


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a reader of one of these words."""

    def read(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"`{text}` is none of {', '.join(f'`{choice}`' for choice in choices)}")
        return text.lower()

    return read


def readable_file(text: str) -> Path:
    """Read the path of an existing file that this process may read."""
    path = _expanded(text)
    if not os.path.isfile(path):  # unlike `Path.is_file`, False for a name that is too long
        raise ValueError(f"there is no file `{path}`")
    if not os.access(path, os.R_OK):
        raise ValueError(f"`{path}` may not be read by this user")
    return path


def authorities_file(text: str) -> Path:
    """Read the path of a readable file that holds certificates in PEM form."""
    path = readable_file(text)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError as problem:
        raise ValueError(f"`{path}` holds no certificate in PEM form") from problem
    return path


def port(text: str) -> int:
    """Read a TCP port, from 1 to 65535."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65_535:
        raise ValueError(f"`{text}` is no port: it is a number from 1 to 65535")
    return int(text)


def port_range(text: str) -> PortRange:
    """Read a range such as `20000-20100`, or one port, with `HOST:` before it or not; `:` means every interface."""
    where, _, ports = text.rpartition(":") if ":" in text else (None, "", text)
    if where is not None:
        where = listen_address(f"{where}:0").host
    first, _, last = ports.partition("-")
    found = PortRange(where, port(first), port(last or first))
    if found.first > found.last:
        raise ValueError(f"`{text}`: the first port of a range is its lowest")
    return found


def directory(text: str) -> Path:
    """Read the path of a directory, which may not exist yet. Returns an absolute path."""
    path = _expanded(text).absolute()
    if os.path.exists(path) and not os.path.isdir(path):
        raise ValueError(f"`{path}` is not a directory")
    return path


def new_file(text: str) -> Path:
    """Read the path of a file, which may not exist yet. Returns an absolute path."""
    path = _expanded(text).absolute()
    if os.path.isdir(path):
        raise ValueError(f"`{path}` is a directory")
    return path


def _expanded(text: str) -> Path:
    """Return a text as a path, with the home directory in place of a `~` at its beginning."""
    try:
        return Path(text).expanduser()
    except RuntimeError as problem:
        raise ValueError(f"`{text}` begins with the home directory of a user who does not exist") from problem


def is_localhost(host: str) -> bool:
    """Whether a host is `localhost` or a name under it, which never leave the machine (RFC 6761 section 6.3)."""
    return host == "localhost" or host.endswith(".localhost")


def _amount(low: float, high: float, unit: str, *, has_off: bool = False) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"`{text}` is no number of {unit}") from None
        if not low <= value <= high and not (has_off and value == 0):
            off = "0 (off) or " if has_off else ""
            raise ValueError(f"`{text}` is not {off}between {low:g} and {high:g} {unit}")
        return value

    return read
