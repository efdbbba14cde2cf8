"""The wire protocol `tunnel.v1`, Sans-I/O. Start reading at `session`; the normative text is docs/reference/wire-protocol.md."""
