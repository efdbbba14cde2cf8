"""The agent of the tunnel, and the protocol code both ends share. Start reading at `tunnelctl.agent.agent`."""

__version__ = "0.1.0"
