"""Runs OpenID providers as processes: a simple mock, a certified one, one with real pages, and a lying one."""

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
"""The providers' users: claims by login name. `eve` has Alice's e-mail address, but unverified."""

IDP = ROOT / "tests" / "idp"


@dataclass(frozen=True, slots=True)
class Provider:
    """A running OpenID provider.

    Attributes:
        kind: `mock` (PyPI oidc-provider-mock), `node` (npm oidc-provider), `canaille` (PyPI), or `liar`
            (npm oauth2-mock-server).
    """

    kind: str
    issuer: str
    child: Child

    @property
    def flags(self) -> list[str]:
        """The flags of `tunnel http` for a login with this provider."""
        return [f"--oidc={self.issuer}", f"--oidc-client-id={CLIENT_ID}", f"--oidc-client-secret={CLIENT_SECRET}"]

    def control(self, **changes: object) -> None:
        """Change the provider's behaviour while it runs; tests/idp/server.mjs and liar.mjs describe the changes."""
        self._control(json.dumps(changes).encode())

    def calls(self, path: str) -> list[dict[str, Any]]:
        """Return the requests that a `node` or `liar` provider got at a path.

        Each has its method; those of `node` also have `grant_type` and status.
        """
        return [call for call in self._control()["calls"] if call["path"] == path]

    def logouts(self) -> list[dict[str, Any]]:
        """Return the back-channel logout tokens that a `node` provider has sent: client_id, sub, sid, and any error."""
        sent: list[dict[str, Any]] = self._control()["logouts"]
        return sent

    def _control(self, body: bytes | None = None) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.issuer}/control", body, timeout=PATIENCE) as answer:
            told: dict[str, Any] = json.load(answer)
        return told


@contextmanager
def mock_provider(users: Mapping[str, Mapping[str, Any]] = USERS, port: int | None = None) -> Iterator[Provider]:
    """Context manager: PyPI's oidc-provider-mock, without PKCE and `iss`; one click on a user's name signs in."""
    port = port or free_port()
    claims = [f"--user-claims={json.dumps({'sub': sub, **rest})}" for sub, rest in users.items()]
    child = python("idp", "oidc_provider_mock", "--port", str(port), *claims)
    with _ended(child):
        child.wait_for(lambda line: "Uvicorn running" in line)
        yield Provider("mock", f"http://localhost:{port}", child)


@contextmanager
def node_provider(redirect_uris: Sequence[str], *, port: int | None = None, **options: object) -> Iterator[Provider]:
    """Context manager: npm's oidc-provider, which requires PKCE, sends `iss`, and has a login and a consent form.

    A user's password is the login name. The provider also has rotating refresh tokens, all kinds of logout, and `acr`;
    `Provider.control` changes its behaviour.

    Args:
        redirect_uris: The client's redirect URIs, which the provider compares exactly.
        port: The provider's port on 127.0.0.1; None for a free one.
        options: Further configuration of `tests/idp/server.mjs`, as `client={"post_logout_redirect_uris": [...]}`.
    """
    config = {**_client(redirect_uris), "users": USERS, **options}
    with _listening("node", [*node(), str(IDP / "server.mjs")], config, port) as provider:
        yield provider


@contextmanager
def canaille_provider(redirect_uris: Sequence[str], **options: object) -> Iterator[Provider]:
    """Context manager: PyPI's canaille, which requires PKCE, sends `iss`, signs with RS512, and has real pages.

    It sends no `email_verified`. Login name, password and consent are on a page each.

    Args:
        redirect_uris: The client's redirect URIs.
        options: Further configuration of `tests/idp/canaille_server.py`; without `audience=True` `aud` is empty.
    """
    config = {**_client(redirect_uris), "users": USERS, **options}
    args = [sys.executable, "-W", "ignore", str(IDP / "canaille_server.py")]
    with _listening("canaille", args, config) as provider:
        yield provider


@contextmanager
def liar_provider(**options: object) -> Iterator[Provider]:
    """Context manager: npm's oauth2-mock-server, which signs in without a form.

    It sends the wrong responses that a test orders with `Provider.control(next=...)`.

    Args:
        options: Further configuration of `tests/idp/liar.mjs`.
    """
    with _listening("liar", [*node(), str(IDP / "liar.mjs")], {"users": USERS, **options}) as provider:
        yield provider


def _client(redirect_uris: Sequence[str]) -> dict[str, object]:
    return {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "redirect_uris": list(redirect_uris)}


def node() -> list[str]:
    """Return the command that runs a provider written for Node. Without Node and its modules the test is skipped."""
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
    """Fetch the provider's discovery document."""
    with urllib.request.urlopen(f"{provider.issuer}/.well-known/openid-configuration", timeout=PATIENCE) as answer:
        document: dict[str, Any] = json.load(answer)
    return document
