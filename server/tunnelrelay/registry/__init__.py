"""Who serves which name right now. Start reading at `registry`."""
