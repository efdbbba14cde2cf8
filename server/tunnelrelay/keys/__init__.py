"""The relay's own keys: encryption and signing keys, their files, and their rotation. Start with `keyring.py`."""
