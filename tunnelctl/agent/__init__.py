"""The agent: dial a relay, offer tunnels, serve exchanges, come back. Start reading at `agent`."""
