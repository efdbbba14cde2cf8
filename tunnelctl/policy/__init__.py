"""The access rules of an endpoint: one table of all settings, shared by agent and relay. Start with fields.py.

`parse.py` reads what users typed, `check.py` checks a whole policy, `values.py` single values, and `describe.py` says
in words who may enter. No code here does I/O.
"""
