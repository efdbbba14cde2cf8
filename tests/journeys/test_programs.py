"""Programs with tokens of a CI system and of a certified provider, through real processes."""

from collections.abc import Iterator

import httpx
import pytest

from tests.support.app_routes import SECRET
from tests.support.apps import App
from tests.support.idp import Provider, metadata, node_provider
from tests.support.issuer import Issuer, issuer
from tests.support.raw_http import Response, fetch
from tests.support.stack import Stack, Tunnel

AUDIENCE = "https://demo.tun.example"
MACHINE = {
    "client_id": "ci-robot",
    "client_secret": "secret-of-the-robot",
    "grant_types": ["client_credentials"],
    "response_types": [],
    "redirect_uris": [],
}


@pytest.fixture
def ci() -> Iterator[Issuer]:
    with issuer() as running:
        yield running


@pytest.fixture
def idp(stack: Stack) -> Iterator[Provider]:
    with node_provider([stack.redirect_uri], clients=[MACHINE]) as provider:
        yield provider


async def show(tunnel: Tunnel, stack: Stack, token: str, **kwargs: object) -> Response:
    fields = [("Authorization", f"Bearer {token}")] if token else []
    return await fetch(stack.port, "GET", "/", host=tunnel.host_and_port, fields=fields, **kwargs)


def access_token(idp: Provider, **more: str) -> str:
    """What the provider gives the robot for its secret."""
    answer = httpx.post(
        metadata(idp)["token_endpoint"],
        data={"grant_type": "client_credentials", **more},
        auth=(MACHINE["client_id"], MACHINE["client_secret"]),
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


async def test_a_ci_job_opens_what_nobody_else_can(stack: Stack, app: App, ci: Issuer) -> None:
    tunnel = stack.tunnel(
        app.port, f"--jwt-issuer={ci.url}", f"--jwt-audience={AUDIENCE}", "--jwt-claim=repository=acme/app"
    )
    job = {"repository": "acme/app", "ref": "refs/heads/main"}

    answer = await show(tunnel, stack, ci.token(AUDIENCE, **job))
    assert answer.status == 200
    assert SECRET in answer.body.decode()
    (request,) = app.seen("/")
    assert request.get("authorization") == ""
    assert request.get("x-tunnel-user") == "repo:acme/app:ref:refs/heads/main"
    assert request.get("x-tunnel-issuer") == ci.url

    for token, status in (
        ("", 401),
        (ci.token("https://other.example", **job), 401),
        (ci.token(AUDIENCE, **{**job, "exp": 1}), 401),
        (ci.token(AUDIENCE, repository="evil/app"), 403),
        ("opaque", 401),
    ):
        assert (await show(tunnel, stack, token)).status == status
    assert len(app.seen("/")) == 1
    assert f"programs with a token of {ci.url} for {AUDIENCE} that says repository acme/app" in tunnel.child.output
    for child in stack.children:
        assert ci.token(AUDIENCE, **job).rpartition(".")[0] not in child.output


async def test_the_rules_for_one_issuer_admit_nobody_with_a_token_of_another(
    stack: Stack, app: App, ci: Issuer
) -> None:
    with issuer() as other:
        tunnel = stack.tunnel(
            app.port,
            *(f"--jwt-issuer={ci.url}", f"--jwt-audience={AUDIENCE}", "--jwt-claim=repository=acme/app"),
            *(f"--jwt-issuer={other.url}", "--jwt-claim=team=web", "--jwt-audience=https://other.example"),
        )
        tokens = [
            (ci.token(AUDIENCE, repository="acme/app"), 200),
            (other.token("https://other.example", team="web"), 200),
            (ci.token(AUDIENCE, team="web"), 403),
            (other.token("https://other.example", repository="acme/app"), 403),
            (ci.token("https://other.example", repository="acme/app"), 401),
            (other.token(AUDIENCE, team="web"), 401),
        ]
        assert [(await show(tunnel, stack, token)).status for token, _ in tokens] == [status for _, status in tokens]


async def test_a_client_of_the_logins_own_provider_comes_in_by_the_rules_for_people(
    stack: Stack, app: App, idp: Provider
) -> None:
    tunnel = stack.tunnel(app.port, *idp.flags, f"--oidc-bearer={AUDIENCE}", "--oidc-allow-claim=sub=ci-robot")
    answer = await show(tunnel, stack, access_token(idp, resource=AUDIENCE))

    assert answer.status == 200
    assert app.seen("/")[-1].get("x-tunnel-user") == "ci-robot"
    assert (await show(tunnel, stack, access_token(idp, resource="https://other.example"))).status == 401

    stranger = stack.tunnel(app.port, *idp.flags, f"--oidc-bearer={AUDIENCE}", "--oidc-allow-domain=example.com")
    assert (await show(stranger, stack, access_token(idp, resource=AUDIENCE))).status == 403
    assert len(app.seen("/")) == 1


async def test_an_opaque_token_is_the_apps_and_signs_nobody_in(stack: Stack, app: App, idp: Provider) -> None:
    tunnel = stack.tunnel(app.port, *idp.flags, "--oidc-bearer")
    answer = await show(tunnel, stack, access_token(idp))

    assert (answer.status, answer.get("tunnel-error")) == (401, "login_required")
    assert app.seen("/") == []


def test_an_issuer_that_signs_for_everybody_is_not_published_without_a_rule(stack: Stack, app: App) -> None:
    agent = stack.agent(
        app.port, "--jwt-issuer=https://token.actions.githubusercontent.com", f"--jwt-audience={AUDIENCE}"
    )

    assert agent.wait() == 2
    assert "repository=OWNER/REPOSITORY" in agent.output
    assert ": --jwt-claim: https://token.actions.githubusercontent.com signs for" in agent.output
