"""The sign-in of a visitor: redirect to the provider, callback, session. Start with `login.py`."""
