"""OpenID providers as processes: the careless PyPI one and the certified npm one."""

import json
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.ports import free_port
from tests.support.processes import Child
from tests.support.tools import ROOT, missing, require_tool

CLIENT_ID = "tunnel-tests"
CLIENT_SECRET = "client-secret-of-the-tests"

USERS: Mapping[str, Mapping[str, Any]] = {
    "alice": {"email": "alice@example.com", "email_verified": True, "name": "Alice Adams", "groups": ["staff"]},
    "bob": {"email": "bob@example.com", "email_verified": True, "name": "Bob Brown", "groups": ["guests"]},
    "eve": {"email": "alice@example.com", "email_verified": False, "name": "Eve", "groups": []},
    "mallory": {"email": "mallory@elsewhere.test", "email_verified": True, "name": "Mallory", "groups": []},
}
"""Login names and claims; `eve` claims Alice's address without having proved it."""

NODE_MODULES = ROOT / "tests" / "idp" / "node_modules"


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider that answers.

    Attributes:
        kind: `mock` (PyPI oidc-provider-mock) or `node` (npm oidc-provider).
    """

    kind: str
    issuer: str
    child: Child

    @property
    def flags(self) -> list[str]:
        """What `tunnel http` needs to use it."""
        return [f"--oidc={self.issuer}", f"--oidc-client-id={CLIENT_ID}", f"--oidc-client-secret={CLIENT_SECRET}"]

    def control(self, **changes: object) -> None:
        """Changes the `node` provider while it runs: see `change` in tests/idp/server.mjs."""
        self._control(json.dumps(changes).encode())

    def calls(self, path: str) -> list[dict[str, Any]]:
        """What the `node` provider was asked at `path`: method, grant_type and status of each request."""
        return [call for call in self._control()["calls"] if call["path"] == path]

    def logouts(self) -> list[dict[str, Any]]:
        """The back-channel logout tokens the `node` provider sent: client_id, sub, sid, and error when refused."""
        sent: list[dict[str, Any]] = self._control()["logouts"]
        return sent

    def _control(self, body: bytes | None = None) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.issuer}/control", body, timeout=10) as answer:
            told: dict[str, Any] = json.load(answer)
        return told


@contextmanager
def mock_provider(users: Mapping[str, Mapping[str, Any]] = USERS, port: int | None = None) -> Iterator[Provider]:
    """PyPI oidc-provider-mock: no PKCE, no `iss`; one click on a user's name signs in."""
    port = port or free_port()
    claims = [f"--user-claims={json.dumps({'sub': sub, **rest})}" for sub, rest in users.items()]
    child = Child("idp", [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(port), *claims])
    with _ended(child):
        child.wait_for(lambda line: "Uvicorn running" in line)
        yield Provider("mock", f"http://localhost:{port}", child)


@contextmanager
def node_provider(redirect_uris: Sequence[str], *, port: int | None = None, **options: object) -> Iterator[Provider]:
    """npm oidc-provider: PKCE required, `iss` sent, a login form (password = login name) and a consent form.

    It can do the rest too: rotating refresh tokens, logout of every kind, `acr`; `Provider.control` changes its mind.

    Args:
        redirect_uris: What the client may use; it compares them exactly.
        port: Its port on 127.0.0.1; None takes a free one.
        options: More of `tests/idp/server.mjs`'s configuration, as `client={"post_logout_redirect_uris": [...]}`.
    """
    node = require_tool("node", "nodejs")
    if not NODE_MODULES.is_dir():
        missing("tests/idp/node_modules is missing (make setup)")
    config = {
        "port": port or free_port(),
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "redirect_uris": list(redirect_uris),
        "users": USERS,
        **options,
    }
    child = Child("idp", [node, str(ROOT / "tests" / "idp" / "server.mjs"), json.dumps(config)])
    with _ended(child):
        yield Provider("node", str(child.wait_for_record("listening")["issuer"]), child)


@contextmanager
def _ended(child: Child) -> Iterator[None]:
    try:
        yield
    finally:
        child.stop()


def metadata(provider: Provider) -> dict[str, Any]:
    """The provider's discovery document."""
    with urllib.request.urlopen(f"{provider.issuer}/.well-known/openid-configuration", timeout=10) as answer:
        document: dict[str, Any] = json.load(answer)
    return document
