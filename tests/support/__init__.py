"""Helpers for tests. Start reading with `world` (everything in one process) or `processes` (the real commands)."""
