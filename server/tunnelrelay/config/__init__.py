"""The relay's settings: where they come from, how each is read, and the rules between them. Start with `config.py`."""
