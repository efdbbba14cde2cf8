"""The public side. One request and its answer is `exchange`: START HERE."""
