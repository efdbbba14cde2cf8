"""Runs many idle tunnels in one process: `python -m tests.bench.links RELAY UPSTREAM_PORT COUNT`.

Each is a whole agent with a link of its own, named t1, t2 and so on; a `tunnel` process serves t0. The relay sees as
many agents, and the machine does not need as many Python processes.
"""

import asyncio
import sys

from tunnelctl.agent.address import parse_relay, parse_upstream
from tunnelctl.agent.agent import Agent
from tunnelctl.agent.config import AgentConfig, TunnelConfig
from tunnelctl.agent.watcher import Watchers


async def hold(relay: str, upstream: str, count: int) -> None:
    """Serve the tunnels t1 to t(`count` - 1) until the process is ended."""
    address, service = parse_relay(relay), parse_upstream(upstream)
    async with asyncio.TaskGroup() as group:
        for number in range(1, count):
            tunnel = TunnelConfig(upstream=service, subdomain=f"t{number}")
            group.create_task(Agent(AgentConfig(relay=address, tunnels=(tunnel,)), Watchers()).run())


if __name__ == "__main__":
    asyncio.run(hold(sys.argv[1], sys.argv[2], int(sys.argv[3])))
