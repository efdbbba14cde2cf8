"""Decides whether a visitor may pass, and with which headers. Pure functions. Start reading at verdict.py."""
