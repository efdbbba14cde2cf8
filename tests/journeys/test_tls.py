"""A relay that ends TLS itself: what visitors, agents and certificates on disk see of it."""

import ssl

import pytest

from tests.support.app_routes import SECRET
from tests.support.certificates import Authority
from tests.support.idp import mock_provider
from tests.support.ports import free_port
from tests.support.raw_http import Response, connect
from tests.support.stack import Stack

DOMAIN = "tun.localhost"


class SecureStack(Stack):
    """A relay with TLS.

    Attributes:
        authority: Whom visitors and agents trust.
        https_port: Where it ends TLS.
    """

    def __init__(self, folder) -> None:
        self.authority = Authority(folder / "tls")
        self.https_port = free_port()
        cert_file, key_file = self.authority.issue(DOMAIN)
        flags = [f"--https=127.0.0.1:{self.https_port}", f"--tls-cert={cert_file}", f"--tls-key={key_file}"]
        super().__init__(folder / "data", [*flags, f"--domain={DOMAIN}"])

    @property
    def agent_flags(self) -> tuple[str, str]:
        return f"--relay=https://localhost:{self.https_port}", f"--relay-ca={self.authority.ca_file}"

    async def fetch(self, name: str, target: str) -> tuple[Response, bytes]:
        """A visitor's request over TLS; the answer, and the certificate that was shown."""
        trust = ssl.create_default_context(cafile=str(self.authority.ca_file))
        host = f"{name}.{DOMAIN}"
        async with connect(self.https_port, tls=trust, sni=host) as visitor:
            response = await visitor.request("GET", target, host=f"{host}:{self.https_port}")
            certificate = visitor.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return response, certificate


@pytest.fixture
def stack(tmp_path):
    stack = SecureStack(tmp_path)
    yield stack
    stack.stop()


async def test_visitors_and_agents_are_served_over_tls(stack, app):
    tunnel = stack.tunnel(app.port, "--subdomain=demo", *stack.agent_flags)
    response, _ = await stack.fetch("demo", "/echo")

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
    _, before = await stack.fetch("demo", "/")
    stack.authority.issue(DOMAIN)
    after = before
    while after == before:
        response, after = await stack.fetch("demo", "/")

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
