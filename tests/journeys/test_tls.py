"""A relay that ends TLS itself: what visitors, agents and certificates on disk see of it."""

import ssl

import pytest

from tests.support.app_routes import SECRET
from tests.support.idp import mock_provider
from tests.support.raw_http import Response, connect
from tests.support.stack_tls import DOMAIN, SecureStack


async def shown(stack: SecureStack, name: str, target: str) -> tuple[Response, bytes]:
    """A visitor's request over TLS; the answer, and the certificate that was shown."""
    trust = ssl.create_default_context(cafile=str(stack.authority.ca_file))
    host = f"{name}.{DOMAIN}"
    async with connect(stack.https_port, tls=trust, sni=host) as visitor:
        response = await visitor.request("GET", target, host=f"{host}:{stack.https_port}")
        certificate = visitor.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return response, certificate


@pytest.fixture
def stack(tmp_path):
    stack = SecureStack(tmp_path)
    yield stack
    stack.stop()


async def test_visitors_and_agents_are_served_over_tls(stack, app):
    tunnel = stack.tunnel(app.port, "--subdomain=demo", *stack.agent_flags)
    response, _ = await shown(stack, "demo", "/echo")

    assert tunnel.url == f"https://demo.{DOMAIN}:{stack.https_port}"
    assert response.status == 200
    assert '["x-forwarded-proto", "https"]' in response.text


async def test_plain_http_sends_visitors_to_https(stack, app):
    stack.tunnel(app.port, "--subdomain=demo", *stack.agent_flags)
    async with connect(stack.port) as visitor:
        response = await visitor.request("GET", "/a?b=c", host=f"demo.{DOMAIN}")

    assert response.status in {301, 308}
    assert response.get("location") == f"https://demo.{DOMAIN}:{stack.https_port}/a?b=c"
    assert app.seen("/a") == []


async def test_a_renewed_certificate_is_shown_without_a_restart(stack, app):
    tunnel = stack.tunnel(app.port, "--subdomain=demo", *stack.agent_flags)
    _, before = await shown(stack, "demo", "/")
    stack.authority.issue(DOMAIN)
    after = before
    while after == before:
        response, after = await shown(stack, "demo", "/")

    assert response.status == 200
    assert tunnel.child.returncode is None


def test_an_agent_that_does_not_trust_the_relay_does_not_connect(stack, app):
    agent = stack.agent(app.port, "--subdomain=demo", stack.agent_flags[0])
    line = agent.wait_for(lambda line: "certificate" in line.lower())

    assert "started tunnel" not in line
    assert not any(record["msg"] == "started tunnel" for record in agent.records())


async def test_over_tls_the_session_cookie_is_bound_to_its_host(stack, app):
    with mock_provider() as idp:
        stack.tunnel(app.port, "--subdomain=demo", *stack.agent_flags, *idp.flags)
        trust = ssl.create_default_context(cafile=str(stack.authority.ca_file))
        host = f"demo.{DOMAIN}"
        async with connect(stack.https_port, tls=trust, sni=host) as visitor:
            fields = [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"), ("Accept", "text/html")]
            answer = await visitor.request("GET", "/", host=f"{host}:{stack.https_port}", fields=fields)

    (cookie,) = answer.get_all("set-cookie")
    assert answer.status == 303
    assert cookie.startswith("__Host-tunnel-tx-")
    assert all(part in cookie for part in ("Secure", "HttpOnly", "Path=/", "SameSite=Lax"))
    assert "Domain" not in cookie
    assert SECRET not in answer.text
