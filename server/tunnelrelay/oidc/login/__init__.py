"""How a visitor signs in: redirect to the provider, callback, session. Start with `login.py`."""
