"""The rules of an endpoint as people write them: one table for both ends. START HERE: fields.py.

`values.py` judges single values, `durations.py` reads lengths of time, `named.py` knows `@name` providers. Pure.
"""
