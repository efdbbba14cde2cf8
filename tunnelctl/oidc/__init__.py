"""What an OpenID provider publishes, and the rules it must pass: the same for the relay and for `tunnel oidc check`.

Pure: nothing here calls a provider. Begin with `metadata.py`, then `keys.py`.
"""
