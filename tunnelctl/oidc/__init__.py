"""The checks of what an OpenID provider publishes, shared by the relay and `tunnel oidc check`.

The code here makes no network calls. Begin with `metadata.py`, then `keys.py`.
"""
