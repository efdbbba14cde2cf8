"""The protocol `tunnel.v1` between relay and agent, as code without I/O. Start reading at `session`, beside
docs/reference/wire-protocol.md.
"""
