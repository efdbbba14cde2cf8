"""The public side. One visitor connection from first byte to last is `visit`: START HERE."""
