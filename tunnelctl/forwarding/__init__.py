"""Serves a local app for the time of one run: the core of the Python API, and of tools that test an app in CI."""
