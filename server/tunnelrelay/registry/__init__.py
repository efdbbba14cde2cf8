"""The tables of live tunnels and of the hosts they serve. Start reading at `registry`."""
