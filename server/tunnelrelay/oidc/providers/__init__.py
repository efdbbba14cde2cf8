"""Calls to OpenID providers: their metadata, keys and tokens, behind the SSRF guard. Start with `provider.py`."""
