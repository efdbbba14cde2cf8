"""Sets the TCP options of a link, so that small frames are sent at once and the kernel's queue stays short; and
describes connection failures.
"""

import asyncio
import os
import re
import socket
import ssl

from tunnelctl.eventlog import EventLog

log = EventLog("tunnelctl.link")

NOT_SENT = 64 * 1024
"""Maximum unsent bytes in the kernel (TCP_NOTSENT_LOWAT). More would let a bulk stream queue ahead of the others."""
_TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25)


def tune(transport: asyncio.Transport) -> None:
    """Set the TCP options, if the transport is TCP and the platform has them."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, NOT_SENT)
    except OSError:  # not available on this platform; sending is still fair, with more delay
        log.debug("TCP_NOTSENT_LOWAT not available")


def reason(error: OSError) -> str:
    """Describe for display why a connection failed; asyncio's own message only repeats the address."""
    if isinstance(error, ssl.SSLError):
        return _tls_reason(error)
    if isinstance(error, TimeoutError) and not error.errno:
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return f"the name cannot be resolved ({(error.strerror or str(error)).lower()})"
    if error.errno:
        return os.strerror(error.errno).lower()
    # For a name with several addresses asyncio raises one error for all of them, without an errno.
    numbers = dict.fromkeys(int(number) for number in _ERRNO.findall(str(error)))
    if numbers:
        return ", ".join(os.strerror(number).lower() for number in numbers)
    if isinstance(error, ConnectionError):
        return (str(error) or "the connection was closed").lower()
    return (error.strerror or str(error) or type(error).__name__).lower()


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        text = error.verify_message.rstrip(".")
        return _CERTIFICATES.get(error.verify_code, "its certificate is not good: {}").format(text)
    name = error.reason or ""
    if name in _NO_TLS:
        return "what listens there does not speak TLS"
    if name in _NO_COMMON_VERSION:
        return "it speaks no version of TLS that is still safe to use"
    if "CERTIFICATE_REQUIRED" in name or name == "TLSV1_ALERT_CERTIFICATE_UNKNOWN":
        return "it asks for a client certificate"
    return f"no TLS connection: {name.lower().replace('_', ' ') or str(error)}"


def is_no_tls(error: ssl.SSLError) -> bool:
    """Return whether the other end's response was not TLS at all."""
    return error.reason in _NO_TLS


_ERRNO = re.compile(r"\[Errno (\d+)\]")
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG"}) | {
    "RECORD_LAYER_FAILURE",
    "BAD_RECORD_TYPE",
    "UNEXPECTED_MESSAGE",
}
"""OpenSSL reasons for data that is not a TLS record; which of them occurs depends on the data's first five bytes."""
_NO_COMMON_VERSION = frozenset({"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION"})
_CERTIFICATES = {
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    18: "its certificate is self-signed, and not one that this machine trusts",
    19: "its certificate is from an authority that this machine does not trust (self-signed certificate in its chain)",
    20: "its certificate is from an authority that this machine does not trust",
    21: "its certificate is from an authority that this machine does not trust",
    62: "its certificate is for another name: {}",
    64: "its certificate is for another name: {}",
}
"""Descriptions by OpenSSL's `X509_V_ERR_*` number; `{}` stands for OpenSSL's own message."""
