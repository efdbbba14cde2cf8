"""The link between agent and relay: one multiplexed session over one websocket, with its heartbeat. Start at `link`."""
