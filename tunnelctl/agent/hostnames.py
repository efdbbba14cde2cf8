"""Public names as people ask for them: one label, a whole host, or a URL. Pure."""

import re
from urllib.parse import urlsplit

from tunnelctl.agent.address import AddressInvalid
from tunnelctl.wire.texts import NAME_PATTERN


def host_of_url(text: str) -> str | None:
    """The host that `https://demo.tun.example`, `demo.tun.example` or `https://` (any: None) asks for.

    Raises:
        AddressInvalid: It is no public address of an HTTP endpoint.
    """
    scheme, colon, rest = text.strip().partition("://")
    if colon and scheme not in ("http", "https"):
        raise AddressInvalid(f"{text}: only http:// and https:// addresses can be served")
    authority = rest if colon else scheme
    if not authority:
        return None
    try:
        parts = urlsplit(f"//{authority}")
        _ = parts.port  # accepted as we print it; the relay decides the port
    except ValueError as error:
        raise AddressInvalid(f"{text}: not an address ({error})") from None
    if parts.path or parts.query or parts.fragment or "@" in authority:
        raise AddressInvalid(f"{text}: a public address ends after the host")
    return host_name(parts.hostname or "")


def host_name(text: str) -> str:
    """A whole host name, lower-case.

    Raises:
        AddressInvalid: It is none.
    """
    host = text.strip().lower().rstrip(".")
    if not host or len(host) > 253 or not all(_is_label(part) for part in host.split(".")):
        raise AddressInvalid(f"{text!r} is not a host name")
    return host


def label(text: str) -> str:
    """One label of a host name, lower-case.

    Raises:
        AddressInvalid: It is none.
    """
    name = text.strip().lower()
    if not _is_label(name):
        raise AddressInvalid(f"{text!r} is not a name of letters, digits and inner hyphens, at most 63 long")
    return name


def _is_label(text: str) -> bool:
    return re.fullmatch(NAME_PATTERN, text) is not None
