"""Which tunnels serve which hosts now. Start reading at `registry`."""
