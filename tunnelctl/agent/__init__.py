"""The agent: connects to a relay, offers tunnels, serves exchanges, and reconnects. Start reading at `agent`."""
