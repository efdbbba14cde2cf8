"""One mux session over one websocket, with its heartbeat. Start reading at `link`."""
