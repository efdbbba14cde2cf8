"""Decides whether a request may pass to the app, and with which header fields. Pure functions. Start reading at
verdict.py.
"""
