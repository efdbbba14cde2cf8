"""The public side of the relay: visitors' connections and requests. Start reading at `exchange`, one request."""
