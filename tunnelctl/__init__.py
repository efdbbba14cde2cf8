"""The tunnel's agent, its Python API, and the protocol code that agent and relay share.

The names of the API (`tunnelctl.forward` and others, see `tunnelctl.api`) are loaded when they are first used, so that
`import tunnelctl` costs nothing. Start reading at `tunnelctl.agent.agent`.
"""

__version__ = "0.1.0"

API = (
    "AddressTaken", "AppEnded", "AsyncEndpoint", "CredentialRefused", "Jwt", "NoHits", "NotReady", "Oidc",
    "RelayUnreachable", "RunRefused", "SettingsRefused", "SyncEndpoint", "TunnelError", "TunnelLost", "forward",
    "forward_sync",
)  # fmt: skip
"""Names of `tunnelctl.api` that can be used as `tunnelctl.NAME`."""


def __getattr__(name: str) -> object:
    """Load a name of the API (PEP 562)."""
    if name not in API:
        raise AttributeError(f"module 'tunnelctl' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module("tunnelctl.api"), name)
    globals()[name] = value
    return value
