"""Who is this: logging visitors in at an OpenID provider. Start with `login.py`, then `tokens.py` and `sessions.py`."""
