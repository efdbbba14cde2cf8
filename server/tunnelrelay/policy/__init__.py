"""May this visitor pass, and with which headers: pure functions. Start reading at verdict.py."""
