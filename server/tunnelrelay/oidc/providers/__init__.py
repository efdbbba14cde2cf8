"""Calls to OpenID providers: for metadata, keys and tokens, behind the SSRF guard. Start with `provider.py`."""
