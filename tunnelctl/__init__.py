"""The tunnel's agent, and the protocol code that agent and relay share. Start reading at `tunnelctl.agent.agent`."""

__version__ = "0.1.0"
