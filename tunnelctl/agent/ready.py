"""Does the public address truly answer, through this agent's own link?

The probe is a request like a visitor's, sent to the relay's own address with the public host in Host and SNI: names
under `localhost` resolve in no library, and a DNS record that is still on its way must not decide. Each agent answers
the probe itself with its instance id, so that another agent behind the same name, or a page of the relay's, cannot be
taken for it.
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
"""What `probe` returns when the address answers, but through another agent's link."""
MAX_ANSWER = 16 * 1024
"""Bytes of a probe's answer that are read: an error page of the relay's fits, an endless body is cut off."""


def proof(instance: str) -> bytes:
    """What an agent answers a probe with. It shows which one it is without the id itself, which can take names over."""
    return hashlib.sha256(b"tunnel ready " + instance.encode()).hexdigest().encode()


def is_ready_request(head: bytes) -> bool:
    """Whether a request head is a probe, which the agent answers itself."""
    return head.startswith(_REQUEST)


def asks_for_upstream(head: bytes) -> bool:
    """Whether a probe is the relay's own, which wants to know about the local service. No visitor's request can be."""
    return b"\r\nX-Tunnel-Probe: upstream\r\n" in head


def ready_head(length: int, status: int = 200) -> bytes:
    """The HEAD payload of the answer to a probe."""
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
    """Ask once.

    Args:
        relay: Where to connect; TLS as the link to it.
        url: The public address, whose host is asked for.
        instance: The id that must come back.
        ca_file, proxy: As for the link.
        timeout: Seconds for the whole of it.

    Returns:
        "" when the answer came through our own link, else why it did not, for people.
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
    except ValueError:  # no URL, or a host that no SNI can carry
        return f"the relay gave an address that is none: {url!r}"
    return _judge(answer, instance)


async def _ask(
    relay: RelayAddress, name: str, authority: str, ca_file: str | None, wanted: str, proxy: Proxy | None
) -> bytes:
    """The first `MAX_ANSWER` bytes that come back.

    Args:
        wanted: The proof of the agent that is meant, where several serve the address.
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
