"""The relay's own keys: sealing, signing, key files and rotation. Start with `keyring.py`."""
