"""The settings of a run, for `tunnel exec` and the Python API: those of `tunnel http`, and an embedded relay."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from tunnelctl.agent.config import AgentConfig
from tunnelctl.cli.flag_values import TunnelFlags
from tunnelctl.cli.settings import SettingsInvalid, resolve
from tunnelctl.forwarding.embedded import at_a_relay
from tunnelctl.forwarding.errors import SettingsRefused


@asynccontextmanager
async def run_settings(flags: TunnelFlags, ready_path: str | None) -> AsyncIterator[AgentConfig]:
    """Return the agent's settings. An embedded relay runs while the block runs, if the flags ask for one.

    Args:
        ready_path: Path that the run will request; None for none.

    Raises:
        SettingsRefused: The settings, or the path, are invalid.
        RelayUnreachable: The embedded relay did not start.
    """
    if ready_path is not None and not _is_path(ready_path):
        raise SettingsRefused(f"the path {ready_path!r} to wait for is none", "give it as /healthz")
    async with at_a_relay(flags.relay) as relay:
        if relay != flags.relay:
            flags = replace(flags, relay=relay, authtoken="")
        try:
            settings = resolve(flags, environ=os.environ, stdin=sys.stdin)
        except SettingsInvalid as error:
            raise SettingsRefused("; ".join(error.problems), error.hint) from error
        yield settings.agent


def _is_path(text: str) -> bool:
    return text.startswith("/") and text.isascii() and text.isprintable() and " " not in text
