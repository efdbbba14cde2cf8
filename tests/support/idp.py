"""OpenID providers as processes: a careless one, a certified one, one with real pages, and one that lies when told."""

import json
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.ports import free_port
from tests.support.processes import Child, python
from tests.support.tools import ROOT, missing, require_tool
from tests.support.waiting import PATIENCE

CLIENT_ID = "tunnel-tests"
CLIENT_SECRET = "client-secret-of-the-tests"

USERS: Mapping[str, Mapping[str, Any]] = {
    "alice": {"email": "alice@example.com", "email_verified": True, "name": "Alice Adams", "groups": ["staff"]},
    "bob": {"email": "bob@example.com", "email_verified": True, "name": "Bob Brown", "groups": ["guests"]},
    "eve": {"email": "alice@example.com", "email_verified": False, "name": "Eve", "groups": []},
    "mallory": {"email": "mallory@elsewhere.test", "email_verified": True, "name": "Mallory", "groups": []},
}
"""Login names and claims; `eve` claims Alice's address without having proved it."""

IDP = ROOT / "tests" / "idp"


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider that answers.

    Attributes:
        kind: `mock` (PyPI oidc-provider-mock), `node` (npm oidc-provider), `canaille` (PyPI), or `liar`
            (npm oauth2-mock-server).
    """

    kind: str
    issuer: str
    child: Child

    @property
    def flags(self) -> list[str]:
        """What `tunnel http` needs to use it."""
        return [f"--oidc={self.issuer}", f"--oidc-client-id={CLIENT_ID}", f"--oidc-client-secret={CLIENT_SECRET}"]

    def control(self, **changes: object) -> None:
        """Changes a provider while it runs: see `change` in tests/idp/server.mjs, and the head of liar.mjs."""
        self._control(json.dumps(changes).encode())

    def calls(self, path: str) -> list[dict[str, Any]]:
        """What `node` or the `liar` was asked at `path`: the method, and from `node` grant_type and status."""
        return [call for call in self._control()["calls"] if call["path"] == path]

    def logouts(self) -> list[dict[str, Any]]:
        """The back-channel logout tokens the `node` provider sent: client_id, sub, sid, and error when refused."""
        sent: list[dict[str, Any]] = self._control()["logouts"]
        return sent

    def _control(self, body: bytes | None = None) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.issuer}/control", body, timeout=PATIENCE) as answer:
            told: dict[str, Any] = json.load(answer)
        return told


@contextmanager
def mock_provider(users: Mapping[str, Mapping[str, Any]] = USERS, port: int | None = None) -> Iterator[Provider]:
    """PyPI oidc-provider-mock: no PKCE, no `iss`; one click on a user's name signs in."""
    port = port or free_port()
    claims = [f"--user-claims={json.dumps({'sub': sub, **rest})}" for sub, rest in users.items()]
    child = python("idp", "oidc_provider_mock", "--port", str(port), *claims)
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
    config = {**_client(redirect_uris), "users": USERS, **options}
    with _listening("node", [*node(), str(IDP / "server.mjs")], config, port) as provider:
        yield provider


@contextmanager
def canaille_provider(redirect_uris: Sequence[str], **options: object) -> Iterator[Provider]:
    """PyPI canaille: PKCE required, `iss` sent, RS512, no `email_verified`; login, password and consent on a page each.

    Args:
        redirect_uris: What the client may use.
        options: More of `tests/idp/canaille_server.py`'s configuration; without `audience=True` its `aud` is empty.
    """
    config = {**_client(redirect_uris), "users": USERS, **options}
    args = [sys.executable, "-W", "ignore", str(IDP / "canaille_server.py")]
    with _listening("canaille", args, config) as provider:
        yield provider


@contextmanager
def liar_provider(**options: object) -> Iterator[Provider]:
    """npm oauth2-mock-server: signs anybody in without a form, and lies as `Provider.control(next=...)` says.

    Args:
        options: More of `tests/idp/liar.mjs`'s configuration.
    """
    with _listening("liar", [*node(), str(IDP / "liar.mjs")], {"users": USERS, **options}) as provider:
        yield provider


def _client(redirect_uris: Sequence[str]) -> dict[str, object]:
    return {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "redirect_uris": list(redirect_uris)}


def node() -> list[str]:
    """The command that runs a provider of npm."""
    node = require_tool("node", "nodejs")
    if not (IDP / "node_modules").is_dir():
        missing("tests/idp/node_modules is missing (make setup)")
    return [node]


@contextmanager
def _listening(
    kind: str, args: Sequence[str], config: Mapping[str, object], port: int | None = None
) -> Iterator[Provider]:
    child = Child("idp", [*args, json.dumps({**config, "port": port or free_port()})])
    with _ended(child):
        yield Provider(kind, str(child.wait_for_record("listening")["issuer"]), child)


@contextmanager
def _ended(child: Child) -> Iterator[None]:
    try:
        yield
    finally:
        child.stop()


def metadata(provider: Provider) -> dict[str, Any]:
    """The provider's discovery document."""
    with urllib.request.urlopen(f"{provider.issuer}/.well-known/openid-configuration", timeout=PATIENCE) as answer:
        document: dict[str, Any] = json.load(answer)
    return document
