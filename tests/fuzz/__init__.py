"""Readers of hostile bytes, each as a plain function of bytes that raises only when the reader is wrong.

`targets_http.py`, `targets_login.py` and `targets_wire.py` hold the functions, `corpus.py` where they start from.
`test_fuzz.py` runs each with Hypothesis in `make test`; `make fuzz` runs each with coverage guidance (`__main__.py`).
"""
