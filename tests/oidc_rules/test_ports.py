"""At which ports a relay calls providers, as the relay, the agent and the dashboard judge it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.oidc.ports import DEFAULT_PORTS, PortRule, port_rule_in

ISSUER = "https://idp.acme.example:9443/realms/x"
TRUSTING = PortRule(DEFAULT_PORTS, takes_issuers=True)


@pytest.mark.parametrize("url", ["https://a.example", "https://a.example:443/x", "https://a.example:8443"])
@pytest.mark.parametrize("rule", [PortRule(), PortRule(DEFAULT_PORTS), TRUSTING])
def test_the_usual_ports_are_called(url: str, rule: PortRule) -> None:
    assert rule.refusal(url) == ""


@pytest.mark.parametrize(
    "url",
    [ISSUER, "https://idp.acme.example:9443/token", "https://IDP.acme.example:9443", "https://idp.acme.example.:9443/"],
)
def test_the_port_that_an_issuer_names_is_called_at_its_own_host(url: str) -> None:
    assert TRUSTING.refusal(url, ISSUER) == ""
    assert "9443" in PortRule(DEFAULT_PORTS).refusal(url, ISSUER)


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example:9443/token",
        "https://x.idp.acme.example:9443/",
        "https://idp.acme.example:22/",
        "https://idp.acme.example:9444/",
        "http://idp.acme.example/",
    ],
)
def test_another_host_or_port_is_not(url: str) -> None:
    assert TRUSTING.refusal(url, ISSUER)


def test_a_port_that_the_operator_allows_is_called_everywhere() -> None:
    rule = PortRule(frozenset({9443}))
    assert rule.refusal("https://other.example:9443/") == ""
    assert "it calls 9443" in rule.refusal("https://a.example/")


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_is_judged(url: str, issuer: str) -> None:
    assert isinstance(TRUSTING.refusal(url, issuer), str)


@pytest.mark.parametrize("rule", [PortRule(), PortRule(DEFAULT_PORTS), TRUSTING])
def test_a_rule_is_read_as_it_was_told(rule: PortRule) -> None:
    assert port_rule_in({"issuer_ports": rule.to_info()}) == rule


@pytest.mark.parametrize("told", [None, {}, 7, {"ports": "443"}, {"ports": ["443"]}])
def test_a_relay_that_tells_no_rule_is_not_judged_by_one(told: object) -> None:
    assert port_rule_in({"issuer_ports": told}) == PortRule()
