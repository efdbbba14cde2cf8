"""Commands and flags of ngrok that `tunnel` does not have. They are refused with a hint at the nearest alternative.

Harmless flags are accepted and ignored instead; see `flags.FAMILIAR`.
"""

from tunnelctl.agent.unsupported import INSTEAD
from tunnelctl.cli.program import Foreign

NGROK = Foreign(
    owner="ngrok",
    commands={
        "tls": "the relay ends TLS: `tunnel http https://localhost:PORT`; or pass it on unread: `tunnel tcp PORT`",
        "service": "run `tunnel start --all` under systemd, as the guide to self-hosting shows",
        "add-server-addr": "it is `tunnel config add-relay URL`",
        "credits": "`pip show tunnelctl` lists what it is built on",
        "edit": "open the file that `tunnel config check` names in an editor",
    },
    flags={f"--{name.replace('_', '-')}": instead for name, instead in INSTEAD.items()},
)
"""The commands and flags, as listed in ngrok's reference."""
