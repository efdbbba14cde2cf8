"""Addresses as people type them: the local service, and the relay. Pure: nothing is resolved here."""

from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from tunnelctl.wire.texts import is_loopback

DEFAULT_RELAY = "http://127.0.0.1:8080"
TCP = "tcp://"
"""Begins the public address of a tcp tunnel; by itself it asks for any."""
DEFAULT_PORTS = {"http": 80, "https": 443}


class AddressInvalid(ValueError):
    """The text is no address of this kind. Its message is for people."""


@dataclass(frozen=True, slots=True)
class UpstreamAddress:
    """Where the local service listens.

    Attributes:
        scheme: `http`, `https` or `tcp`.
        host: Name or IP literal, IPv6 without brackets.
        port: TCP port, 1 to 65535.
    """

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """Host and port, as in a URL; the port is always there."""
        return f"{bracketed(self.host)}:{self.port}"

    @property
    def url(self) -> str:
        """As ngrok prints it: `http://localhost:80`."""
        return f"{self.scheme}://{self.authority}"


@dataclass(frozen=True, slots=True)
class RelayAddress:
    """Where the relay listens for agents.

    Attributes:
        scheme: `http` or `https`.
        host: Name or IP literal, IPv6 without brackets.
        port: TCP port.
    """

    scheme: str
    host: str
    port: int

    @property
    def url(self) -> str:
        """Without the port when it is the scheme's own."""
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{bracketed(self.host)}{port}"

    @property
    def is_loopback(self) -> bool:
        """Whether nothing leaves this machine."""
        return is_loopback(self.host)


def parse_upstream(text: str) -> UpstreamAddress:
    """The upstream that `8080`, `host:port`, `[::1]:port`, `http://…` or `https://…` names.

    Raises:
        AddressInvalid: It names none, or a part of one that we cannot use (a path, `file://`, a user).
    """
    text = text.strip()
    if text.isascii() and text.isdigit():
        return UpstreamAddress(_scheme_of(int(text)), "localhost", _port(int(text), text))
    if text.lower().startswith("file:"):
        raise AddressInvalid(f"{text}: files are not served; run a web server in the folder and name its port")
    has_scheme = "://" in text
    said = "an address ends after the port; paths are passed on as visitors send them"
    parts = _split(text if has_scheme else f"//{text}", text, said)
    if has_scheme and parts.scheme not in DEFAULT_PORTS:
        raise AddressInvalid(f"{text}: only http:// and https:// services can be reached")
    if not has_scheme and parts.port is None:
        raise AddressInvalid(f"{text}: no port; write it as {text}:8080, as a port alone, or as a URL")
    port = parts.port if parts.port is not None else DEFAULT_PORTS[parts.scheme]
    scheme = parts.scheme if has_scheme else _scheme_of(port)
    return UpstreamAddress(scheme, parts.hostname or "", _port(port, text))


def parse_tcp_upstream(text: str) -> UpstreamAddress:
    """The upstream that `22`, `host:22`, `[::1]:22` or `tcp://…` names.

    Raises:
        AddressInvalid: It names none.
    """
    text = text.strip()
    if text.isascii() and text.isdigit():
        return UpstreamAddress("tcp", "localhost", _port(int(text), text))
    parts = _split(text if "://" in text else f"//{text}", text, "the address of a tcp service ends after the port")
    if parts.scheme not in ("", "tcp"):
        raise AddressInvalid(f"{text}: a tcp service is named by its port, as host:port, or as tcp://host:port")
    if parts.port is None:
        raise AddressInvalid(f"{text}: no port; write it as {text}:22, or as a port alone")
    return UpstreamAddress("tcp", parts.hostname or "", _port(parts.port, text))


def parse_remote_addr(text: str) -> str:
    """The wish for a port of the relay, as `Bind.host` has it: any for "", else `20022` or `tun.example:20022`.

    Raises:
        AddressInvalid: It names no port.
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
    """The relay that `http(s)://…`, `ws(s)://…` or a bare `host[:port]` names.

    A bare host is dialled with TLS, unless it is this machine.

    Raises:
        AddressInvalid: It names none, or plain http would carry the token over a network.
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
        # Few resolvers know names under `localhost` (RFC 6761 section 6.3 asks them to); all of them mean this machine.
        host = "127.0.0.1"
    port = parts.port if parts.port is not None else DEFAULT_PORTS[scheme]
    return RelayAddress(scheme, host, _port(port, text))


def bracketed(host: str) -> str:
    """The host as a URL spells it: an IPv6 literal in brackets."""
    return f"[{host}]" if ":" in host else host


def malformed(text: str, error: ValueError) -> str:
    """What is wrong with an address that `urlsplit` cannot take apart."""
    is_port = str(error).startswith("Port")
    return f"{text}: {'its port is not a number from 1 to 65535' if is_port else 'not an address'}"


def _split(url: str, text: str, has_path: str) -> SplitResult:
    """The parts of an address as it was typed; `has_path` is what is said of one that goes on behind the port."""
    if "@" in text:  # first, and not repeated: what stands before it may be a password
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


def _scheme_of(port: int) -> str:
    return "https" if port == 443 else "http"


def _port(port: int, text: str) -> int:
    if not 1 <= port <= 65535:
        raise AddressInvalid(f"{text}: a port is a number from 1 to 65535")
    return port
