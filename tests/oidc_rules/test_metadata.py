"""Where the metadata of an issuer lies, and what is no issuer."""

import pytest

from tunnelctl.oidc.errors import ProviderError
from tunnelctl.oidc.metadata import discovery_url


@pytest.mark.parametrize(
    ("issuer", "url"),
    [
        ("https://op.example", "https://op.example/.well-known/openid-configuration"),
        ("https://op.example/", "https://op.example/.well-known/openid-configuration"),
        ("https://op.example/realms/x", "https://op.example/realms/x/.well-known/openid-configuration"),
    ],
)
def test_discovery_is_below_the_issuer(issuer: str, url: str) -> None:
    assert discovery_url(issuer) == url


@pytest.mark.parametrize(
    "issuer", ["", "op.example", "https://", "https://u@op.example", "https://op.example?x", "https://op.example/#x"]
)
def test_what_is_no_issuer_is_refused(issuer: str) -> None:
    with pytest.raises(ProviderError):
        discovery_url(issuer)
