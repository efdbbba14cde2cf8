"""The four processes of the demo, started in order and ended in reverse."""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import free_port, free_port_near
from tests.support.processes import Child

RELAY_PORT, APP_PORT, IDP_PORT = 8080, 3000, 9400
ALLOWED_DOMAIN = "example.com"

USERS = [
    {"sub": "alice", "name": "Alice Adams", "email": "alice@example.com", "email_verified": True, "groups": ["staff"]},
    {"sub": "mallory", "name": "Mallory", "email": "mallory@elsewhere.test", "email_verified": True, "groups": []},
]
"""Alice is let in by the rule, Mallory is not: the demo shows both."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What is up.

    Attributes:
        url: The app's public address.
        command: The `tunnel` command line, as a person would type it.
        redirect_uri: What a real provider would have to know.
    """

    url: str
    command: str
    redirect_uri: str
    children: tuple[Child, ...]

    @property
    def fallen(self) -> Child | None:
        """The first process that ended by itself."""
        return next((child for child in self.children if child.returncode is not None), None)


@contextmanager
def staged(data_dir: Path, *, only_free_ports: bool) -> Iterator[Stage]:
    """All four processes, ready: the app's public address answers.

    Args:
        data_dir: Where the relay keeps sessions and keys.
        only_free_ports: Take any free ports; else the usual ones where they are free.
    """
    pick = (lambda _wanted: free_port()) if only_free_ports else free_port_near
    relay_port, app_port, idp_port = pick(RELAY_PORT), pick(APP_PORT), pick(IDP_PORT)
    with ExitStack() as stack:
        app = _child(stack, "app", "tests.demo.app", str(app_port))
        claims = [f"--user-claims={json.dumps(user)}" for user in USERS]
        idp = _child(stack, "idp", "oidc_provider_mock", "--port", str(idp_port), *claims)
        relay = _child(
            stack, "relay", "tunnelrelay", "serve", f"--http=127.0.0.1:{relay_port}", "--log-format=json",
            f"--data-dir={data_dir}", f"--admin=127.0.0.1:{free_port()}",
        )  # fmt: skip
        for child in (app, idp):
            child.wait_for(lambda line: "Uvicorn running" in line)
        relay.wait_for(lambda line: str(relay_port) in line)
        flags = _flags(app_port, relay_port, idp_port)
        agent = _child(stack, "agent", "tunnelctl", *flags, "--log=stdout", "--log-format=json")
        started = agent.wait_for_record("started tunnel")
        yield Stage(
            url=str(started["url"]),
            command=" ".join(["tunnel", *flags]),
            redirect_uri=str(started.get("redirect_uri", "")),
            children=(app, idp, relay, agent),
        )


def _flags(app_port: int, relay_port: int, idp_port: int) -> list[str]:
    """Only what is not the default, so that the printed command reads well."""
    return [
        "http",
        str(app_port),
        "--subdomain=demo",
        *([] if relay_port == RELAY_PORT else [f"--relay=http://127.0.0.1:{relay_port}"]),
        f"--oidc=http://localhost:{idp_port}",
        "--oidc-client-id=demo",
        "--oidc-client-secret=demo-secret",
        f"--oidc-allow-domain={ALLOWED_DOMAIN}",
    ]


def _child(stack: ExitStack, name: str, module: str, *args: str) -> Child:
    child = Child(name, [sys.executable, "-W", "ignore", "-m", module, *args])
    stack.callback(child.stop)
    return child
