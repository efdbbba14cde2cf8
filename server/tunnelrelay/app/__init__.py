"""The relay as a process: it makes the parts, ties them together, runs and stops them. Start with `relay.py`."""
