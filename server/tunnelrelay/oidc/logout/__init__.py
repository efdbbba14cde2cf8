"""The end of a session: by the visitor at the relay, or by a message from the provider. Start with `logout.py`."""
