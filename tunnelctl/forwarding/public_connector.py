"""Connects to the relay's own address as a visitor of an endpoint: no DNS record of the endpoint is needed."""

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit

from tunnelctl.agent.config import AgentConfig
from tunnelctl.link.dial import tls_context
from tunnelctl.link.proxy import connect

MAX_HEAD = 64 * 1024
"""Maximum bytes of a head that is read: twice the relay's own limit for the heads of requests."""


@dataclass(frozen=True, slots=True)
class PublicConnector:
    """Opens connections to one endpoint through the relay's own address.

    Attributes:
        config: Settings of the agent: the relay's address, the authorities to trust, and the proxy.
        url: Public URL of the endpoint.
    """

    config: AgentConfig
    url: str

    @property
    def authority(self) -> str:
        """Host of the endpoint, with a port that is not the default: the value of `Host`."""
        return urlsplit(self.url).netloc

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection, with TLS if the relay has it.

        Raises:
            OSError: The relay does not accept the connection.
        """
        relay = self.config.relay
        tls = tls_context(self.config.relay_ca) if relay.scheme == "https" else None
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=MAX_HEAD)
        transport, protocol = await connect(
            lambda: asyncio.StreamReaderProtocol(reader),
            relay.host,
            relay.port,
            tls=tls,
            server_name=urlsplit(self.url).hostname,
            proxy=self.config.proxy,
        )
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
