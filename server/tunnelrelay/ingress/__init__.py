"""The public side: visitors' connections and requests. Start reading at `exchange`, one request and its answer."""
