"""Who is signed in: people by a session cookie, programs by an access token. Start with `sessions.py`."""
