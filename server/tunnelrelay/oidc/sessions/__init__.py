"""Sessions: people are identified by a session cookie, programs by an access token. Start with `sessions.py`."""
