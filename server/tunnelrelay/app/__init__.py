"""The relay as a process: creates its parts, connects them, runs and stops them. Start reading at `relay.py`."""
