"""Probes whether a tunnel's public address responds through this agent's own link.

The probe is a request like a visitor's, sent to the relay's own address with the public host in Host and SNI: no
library resolves names under `localhost`, and a DNS record that is not visible yet must not matter. Each agent answers
the probe itself with a digest of its instance id, so that another agent with the same name, or a page of the relay,
cannot be mistaken for it.
"""

import asyncio
import hashlib
import ssl
from urllib.parse import urlsplit

from tunnelctl.agent.address import RelayAddress
from tunnelctl.link.dial import tls_context
from tunnelctl.link.proxy import Proxy, connect
from tunnelctl.link.tcp import reason
from tunnelctl.wire.frames import pack_head

READY_PATH = "/_tunnel/ready"
_REQUEST = f"GET {READY_PATH} ".encode()
OTHER_AGENT = "another agent answered"
"""Result of `probe` when the address responds, but through another agent's link."""
MAX_ANSWER = 16 * 1024
"""Maximum bytes of a response that are read: an error page of the relay fits, an endless body is cut."""


def proof(instance: str) -> bytes:
    """Return the body with which an agent answers a probe.

    It identifies the agent without revealing its instance id, which allows to take names over.
    """
    return hashlib.sha256(b"tunnel ready " + instance.encode()).hexdigest().encode()


def is_ready_request(head: bytes) -> bool:
    """Return whether a request head is a probe, which the agent answers itself."""
    return head.startswith(_REQUEST)


def asks_for_upstream(head: bytes) -> bool:
    """Return whether a probe comes from the relay and asks about the local service.

    Visitors cannot send such a request.
    """
    return b"\r\nX-Tunnel-Probe: upstream\r\n" in head


def ready_head(length: int, status: int = 200) -> bytes:
    """Return the HEAD payload of the response to a probe."""
    return pack_head(status, b"Content-Type: text/plain\r\nCache-Control: no-store\r\nContent-Length: %d\r\n" % length)


async def probe(
    relay: RelayAddress,
    url: str,
    *,
    instance: str,
    ca_file: str | None,
    timeout: float,
    proxy: Proxy | None = None,
) -> str:
    """Send one probe.

    Args:
        relay: Address to connect to; TLS as for the link.
        url: The public address, whose host is requested.
        instance: Instance id that the response must prove.
        ca_file, proxy: As for the link.
        timeout: Maximum seconds of the whole probe.

    Returns:
        "" when the response came through this agent's own link, else the reason why not, for display.
    """
    try:
        public = urlsplit(url)
        async with asyncio.timeout(timeout):
            answer = await _ask(relay, public.hostname or "", public.netloc, ca_file, proof(instance).decode(), proxy)
    except TimeoutError:
        return f"no answer in {timeout:.0f} s"
    except ssl.SSLCertVerificationError as error:
        return f"the relay's certificate does not hold for {url}: {error.verify_message}"
    except OSError as error:
        return reason(error)
    except ValueError:  # not a URL, or a host that is not valid in SNI
        return f"the relay gave an address that is none: {url!r}"
    return _judge(answer, instance)


async def _ask(
    relay: RelayAddress, name: str, authority: str, ca_file: str | None, wanted: str, proxy: Proxy | None
) -> bytes:
    """Return the first `MAX_ANSWER` bytes of the response.

    Args:
        wanted: Proof of the agent that should answer, if several serve the address.
    """
    tls = tls_context(ca_file) if relay.scheme == "https" else None
    reader = asyncio.StreamReader()
    transport, protocol = await connect(
        lambda: asyncio.StreamReaderProtocol(reader), relay.host, relay.port, tls=tls, server_name=name, proxy=proxy
    )
    writer = asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop())
    try:
        fields = f"Host: {authority}\r\nTunnel-Agent: {wanted}\r\nConnection: close\r\n"
        writer.write(f"GET {READY_PATH} HTTP/1.1\r\n{fields}\r\n".encode())
        answer = b""
        while len(answer) < MAX_ANSWER and (data := await reader.read(MAX_ANSWER)):
            answer += data
        return answer
    finally:
        writer.close()


def _judge(answer: bytes, instance: str) -> str:
    line = answer.partition(b"\r\n")[0]
    if not line.startswith(b"HTTP/1.1 "):
        return "the relay closed the connection" if not answer else "the relay's answer is not HTTP/1.1"
    status = line[9:12].decode("ascii", "replace")
    body = answer.partition(b"\r\n\r\n")[2]
    if status != "200":
        return f"the relay answered {status}"
    return "" if proof(instance) in body else OTHER_AGENT
