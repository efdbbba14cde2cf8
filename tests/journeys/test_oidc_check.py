"""`tunnel oidc check`, as a process, at two real providers: what it says of them, and of a client they do not know."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import processes
from tests.support.apps import App
from tests.support.idp import CLIENT_ID, CLIENT_SECRET, Provider, node_provider
from tests.support.ports import free_port
from tests.support.stack import Stack
from tests.support.waiting import PATIENCE

REDIRECT_URI = "http://localhost:8080/oauth2/callback"


@pytest.fixture(scope="module")
def node_idp() -> Iterator[Provider]:
    with node_provider([REDIRECT_URI]) as provider:
        yield provider


def check(issuer: str, *arguments: str, secret: str = CLIENT_SECRET) -> tuple[int, dict[str, str]]:
    """Exit code, and the level of each finding."""
    words = ["oidc", "check", issuer, *arguments, "--json"]
    child = processes.run("tunnelctl", *words, env={"IDP_SECRET": secret}, timeout=PATIENCE)
    assert CLIENT_SECRET not in "".join(child.lines)
    assert child.returncode is not None
    findings: list[dict[str, Any]] = json.loads("\n".join(child.out))["findings"]
    return child.returncode, {finding["topic"]: finding["level"] for finding in findings}


def client(client_id: str = CLIENT_ID, redirect_uri: str = REDIRECT_URI) -> list[str]:
    return [f"--client-id={client_id}", "--client-secret=env:IDP_SECRET", f"--redirect-uri={redirect_uri}"]


def test_the_certified_provider_and_its_client_are_in_order(node_idp: Provider) -> None:
    code, levels = check(node_idp.issuer, *client())
    assert code == 0
    # The only finding that depends on how busy this machine is.
    levels.pop("latency", None)
    assert set(levels.values()) == {"ok"}
    assert {"discovery", "keys", "client", "secret", "iss"} <= levels.keys()


def test_an_unknown_client_an_unregistered_address_and_a_wrong_secret_are_told_apart(node_idp: Provider) -> None:
    code, levels = check(node_idp.issuer, *client("nobody"))
    assert (code, levels["client"], levels["secret"]) == (1, "error", "error")
    code, levels = check(node_idp.issuer, *client(redirect_uri="https://evil.example/cb"))
    assert (code, levels["redirect_uri"], levels["secret"]) == (1, "error", "ok")
    code, levels = check(node_idp.issuer, *client(), secret="wrong")
    assert (code, levels["client"], levels["secret"]) == (1, "ok", "error")


def test_the_careless_provider_has_no_error(mock_idp: Provider) -> None:
    code, levels = check(mock_idp.issuer, *client())
    assert code == 0
    assert "error" not in levels.values()
    assert levels["keys"] == "ok"


def test_a_wrong_path_is_an_error_with_the_right_one(node_idp: Provider) -> None:
    code, levels = check(f"{node_idp.issuer}/realms/acme")
    assert (code, list(levels.values())) == (1, ["error"])


def test_the_redirect_uri_comes_from_the_relay(node_idp: Provider, stack: Stack) -> None:
    code, levels = check(node_idp.issuer, f"--client-id={CLIENT_ID}", f"--relay=http://127.0.0.1:{stack.port}")
    assert code == 1
    assert levels["redirect_uri"] == "error"


def test_a_start_is_stopped_by_a_wrong_issuer(node_idp: Provider, stack: Stack) -> None:
    agent = stack.agent(3000, f"--oidc={node_idp.issuer}/wrong", "--oidc-client-id=a", "--oidc-client-secret=b")
    assert agent.wait() == 2


def test_a_start_is_not_stopped_by_a_provider_that_is_away_nor_where_the_owner_knows_better(
    app: App, node_idp: Provider, stack: Stack
) -> None:
    client = ["--oidc-client-id=a", "--oidc-client-secret=b"]
    assert stack.tunnel(app.port, f"--oidc=http://localhost:{free_port()}", *client).url
    assert stack.tunnel(app.port, f"--oidc={node_idp.issuer}/wrong", "--no-oidc-check", *client).url
