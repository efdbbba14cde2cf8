"""Checks ID tokens and access tokens, and reads their claims. Does no I/O. Start with `id_token.py`."""
