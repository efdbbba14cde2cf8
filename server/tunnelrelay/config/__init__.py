"""The relay's settings: where values come from, how each is read, and rules between them. Start with `config.py`."""
