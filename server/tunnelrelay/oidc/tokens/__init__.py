"""Checks of ID tokens and access tokens, and the reading of their claims. Pure. Start with `id_token.py`."""
