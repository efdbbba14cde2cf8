"""The rules of an endpoint as people write them: one table for both ends. START HERE: fields.py.

`parse.py` reads what people typed, `check.py` judges a whole policy, `values.py` single values, and `describe.py` says
who is let in. Pure.
"""
