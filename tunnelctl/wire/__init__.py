"""The wire protocol `tunnel.v1`, Sans-I/O. Start reading at `session`, beside docs/reference/wire-protocol.md."""
