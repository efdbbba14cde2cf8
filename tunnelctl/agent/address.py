"""Parses the addresses of local services and of the relay, as users type them. Resolves no names."""

import sys
from dataclasses import dataclass
from pathlib import PurePath
from urllib.parse import SplitResult, unquote, urlsplit

from tunnelctl.wire.texts import is_loopback

DEFAULT_RELAY = "http://127.0.0.1:8080"
TCP = "tcp://"
"""Prefix of the public address of a TCP tunnel; alone it asks for any port."""
DEFAULT_PORTS = {"http": 80, "https": 443}
WHOLE_PATH = "file:///srv/site"
SOCKET_PATH = "unix:/run/app.sock"
"""Examples for error messages about a path in an unusable form."""


class AddressInvalid(ValueError):
    """The text is not an address of the expected kind. The message is for display."""


@dataclass(frozen=True, slots=True)
class UpstreamAddress:
    """The address of the local service.

    Attributes:
        scheme: `http`, `https`, `tcp`, or `file` for a directory that the agent serves itself.
        host: Host name or IP literal, IPv6 without brackets; "" for an address with a path.
        port: TCP port, 1 to 65535; 0 for an address with a path.
        path: Absolute path of the directory, or of the unix socket at which an `http` or `tcp` service listens.
    """

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def authority(self) -> str:
        """Host and port, as in a URL; `unix:PATH` for a socket, `file://PATH` for a directory."""
        if not self.path:
            return f"{bracketed(self.host)}:{self.port}"
        return PurePath(self.path).as_uri() if self.scheme == "file" else f"unix:{self.path}"

    @property
    def url(self) -> str:
        """The URL in ngrok's form, such as `http://localhost:80`.

        Addresses with a path have the form of `authority`.
        """
        return self.authority if self.path else f"{self.scheme}://{self.authority}"


@dataclass(frozen=True, slots=True)
class RelayAddress:
    """The address at which the relay listens for agents.

    Attributes:
        scheme: `http` or `https`.
        host: Host name or IP literal, IPv6 without brackets.
        port: TCP port.
    """

    scheme: str
    host: str
    port: int

    @property
    def url(self) -> str:
        """The relay's URL, without the scheme's default port."""
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{bracketed(self.host)}{port}"

    @property
    def is_loopback(self) -> bool:
        """Whether the relay is on this machine, so that no traffic leaves it."""
        return is_loopback(self.host)


def parse_upstream(text: str) -> UpstreamAddress:
    """Parse the address of a web app: `8080`, `host:port`, `[::1]:port`, `http(s)://…`, `file://…` or `unix:…`.

    Raises:
        AddressInvalid: The text is not an address, or has a part that is not allowed (a path after a port, a user).
    """
    text = text.strip()
    if text.isascii() and text.isdigit():
        return UpstreamAddress(_scheme_of(int(text)), "localhost", _port(int(text), text))
    scheme = text.partition(":")[0].lower()
    if scheme == "file":
        return UpstreamAddress("file", path=_directory(text))
    if scheme == "unix":
        return UpstreamAddress("http", path=_socket_path(text))
    if text.startswith(("/", ".", "~")):
        raise AddressInvalid(f"{text}: write a directory as {WHOLE_PATH}, and a socket as {SOCKET_PATH}")
    has_scheme = "://" in text
    said = "an address ends after the port; paths are passed on as visitors send them"
    parts = _split(text if has_scheme else f"//{text}", text, said)
    if has_scheme and parts.scheme not in DEFAULT_PORTS:
        raise AddressInvalid(f"{text}: a web service is named by http://, https://, file:// or unix:")
    if not has_scheme and parts.port is None:
        raise AddressInvalid(f"{text}: no port; write it as {text}:8080, as a port alone, or as a URL")
    port = parts.port if parts.port is not None else DEFAULT_PORTS[parts.scheme]
    scheme = parts.scheme if has_scheme else _scheme_of(port)
    return UpstreamAddress(scheme, parts.hostname or "", _port(port, text))


def parse_tcp_upstream(text: str) -> UpstreamAddress:
    """Parse the address of a TCP service: `22`, `host:22`, `[::1]:22`, `tcp://…` or `unix:…`.

    Raises:
        AddressInvalid: The text is not such an address.
    """
    text = text.strip()
    if text.isascii() and text.isdigit():
        return UpstreamAddress("tcp", "localhost", _port(int(text), text))
    scheme = text.partition(":")[0].lower()
    if scheme == "unix":
        return UpstreamAddress("tcp", path=_socket_path(text))
    if scheme == "file":
        raise AddressInvalid(f"{text}: a directory is served to browsers: `tunnel http {WHOLE_PATH}`")
    parts = _split(text if "://" in text else f"//{text}", text, "the address of a tcp service ends after the port")
    if parts.scheme not in ("", "tcp"):
        said = "a tcp service is named by its port, as host:port, as tcp://host:port or as unix:/path"
        raise AddressInvalid(f"{text}: {said}")
    if parts.port is None:
        raise AddressInvalid(f"{text}: no port; write it as {text}:22, or as a port alone")
    return UpstreamAddress("tcp", parts.hostname or "", _port(parts.port, text))


def names_path(text: str) -> bool:
    """Return whether the typed address of a local service is a directory or a unix socket."""
    return text.strip().partition(":")[0].lower() in ("file", "unix")


def parse_remote_addr(text: str) -> str:
    """Return the value of `Bind.host` for the relay's TCP port that a user typed: any port for "", else `20022` or
    `tun.example:20022`.

    Raises:
        AddressInvalid: The text contains no valid port.
    """
    host, _, port = text.strip().removeprefix(TCP).lower().rpartition(":")
    if not port and not host:
        return TCP
    if not port.isascii() or not port.isdigit():
        raise AddressInvalid(
            f"{text}: the address of a tcp tunnel is a port of the relay, as 20022 or tun.example:20022"
        )
    return f"{TCP}{host}:{_port(int(port), text)}"


def parse_relay(text: str) -> RelayAddress:
    """Parse the address of a relay: `http(s)://…`, `ws(s)://…` or a bare `host[:port]`.

    A bare host means TLS, unless it is this machine.

    Raises:
        AddressInvalid: The text is not an address, or plain http would send the token over a network.
    """
    text = text.strip()
    parts = _split(text if "://" in text else f"//{text}", text, "a relay's address ends after the port")
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    host = parts.hostname or ""
    scheme = scheme or ("http" if is_loopback(host) else "https")
    if scheme not in DEFAULT_PORTS:
        raise AddressInvalid(f"{text}: a relay's address begins with https:// or http://")
    if scheme == "http" and not is_loopback(host):
        raise AddressInvalid(
            f"{text}: plain http to another machine would send the authtoken in the clear; use https://"
        )
    if scheme == "http" and host.endswith(".localhost"):
        # Few resolvers know names under `localhost`, which all mean this machine (RFC 6761 section 6.3).
        host = "127.0.0.1"
    port = parts.port if parts.port is not None else DEFAULT_PORTS[scheme]
    return RelayAddress(scheme, host, _port(port, text))


def bracketed(host: str) -> str:
    """Return a host for a URL: an IPv6 literal gets brackets."""
    return f"[{host}]" if ":" in host else host


def malformed(text: str, error: ValueError) -> str:
    """Describe what is wrong with an address that `urlsplit` cannot parse."""
    is_port = str(error).startswith("Port")
    return f"{text}: {'its port is not a number from 1 to 65535' if is_port else 'not an address'}"


def _split(url: str, text: str, has_path: str) -> SplitResult:
    """Split a typed address into its parts. `has_path` is the error message for one with a path after the port."""
    if "@" in text:  # first, and without repeating the text: it may contain a password before the @
        raise AddressInvalid("a user name or password in an address is not supported")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise AddressInvalid(malformed(text, error)) from error
    if not parts.hostname or any(character.isspace() for character in text):
        raise AddressInvalid(f"{text or 'an empty text'}: not an address")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise AddressInvalid(f"{text}: {has_path}")
    return parts


def _directory(text: str) -> str:
    """Return the absolute path in a `file:` URL, with percent codes decoded."""
    rest = text[len("file:") :]
    host, slash, path = rest[2:].partition("/") if rest.startswith("//") else ("", "", rest)
    if host.lower() not in ("", "localhost") or not (slash + path).startswith("/"):
        raise AddressInvalid(f"{text}: a directory is named by its whole path, as {WHOLE_PATH}")
    path = "/" + unquote(slash + path, errors="surrogateescape").lstrip("/")
    if sys.platform == "win32" and PurePath(path[1:]).drive:
        path = path[1:]
    return _printable(path, text)


def _socket_path(text: str) -> str:
    """Return the absolute path after `unix:` or `unix://`, unchanged."""
    path = text[len("unix:") :].removeprefix("//")
    if not path.startswith("/"):
        raise AddressInvalid(f"{text}: a socket is named by its whole path, as {SOCKET_PATH}")
    return _printable(path, text)


def _printable(path: str, text: str) -> str:
    if not path.isprintable():
        raise AddressInvalid(f"{text!a}: a path holds characters that can be shown, in UTF-8")
    return path


def _scheme_of(port: int) -> str:
    return "https" if port == 443 else "http"


def _port(port: int, text: str) -> int:
    if not 1 <= port <= 65535:
        raise AddressInvalid(f"{text}: a port is a number from 1 to 65535")
    return port
