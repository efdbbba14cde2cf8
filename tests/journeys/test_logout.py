"""Signing out, for real: at a certified provider, and on its word."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.app_routes import SECRET, sample_app
from tests.support.idp import CLIENT_ID, Provider, node_provider
from tests.support.stack import Stack, Tunnel, stacked, until
from tests.support.visitor import Visitor, page_url


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Provider, Tunnel]]:
    with ExitStack() as held:
        data: Path = tmp_path_factory.mktemp("relay")
        stack = held.enter_context(stacked(data))
        base = stack.redirect_uri.removesuffix("/callback")
        client = {
            "post_logout_redirect_uris": [f"{base}/logged-out"],
            "backchannel_logout_uri": f"{base}/backchannel-logout",
        }
        idp = held.enter_context(node_provider([stack.redirect_uri], client=client))
        app = held.enter_context(sample_app())
        yield stack, idp, stack.tunnel(app.port, "--subdomain=demo", *idp.flags)


def test_signing_out_everywhere_goes_to_the_provider_and_comes_back(place: tuple[Stack, Provider, Tunnel]) -> None:
    _, idp, tunnel = place
    with Visitor() as visitor:
        assert SECRET in visitor.login(tunnel.url, "alice").text
        asked = visitor.navigate(f"{tunnel.url}/_tunnel/logout")
        at_provider = visitor.submit(asked, everywhere="1")
        assert page_url(at_provider).startswith(idp.issuer)

        done = visitor.submit(at_provider, logout="yes")

        assert urlsplit(page_url(done)).path == "/_tunnel/signed-out"
        assert "sign-in service" in done.text
        assert "name=login" in visitor.navigate(tunnel.url).text  # the provider asks for the password again


def test_signing_out_here_leaves_the_provider_signed_in(place: tuple[Stack, Provider, Tunnel]) -> None:
    _, _, tunnel = place
    with Visitor() as visitor:
        visitor.login(tunnel.url, "alice")
        visitor.submit(visitor.navigate(f"{tunnel.url}/_tunnel/logout"))
        assert visitor.get(tunnel.url).status_code == 401
        assert SECRET in visitor.navigate(tunnel.url).text


def test_a_provider_ends_a_persons_sessions_by_a_logout_token(place: tuple[Stack, Provider, Tunnel]) -> None:
    """Row 74."""
    _, idp, tunnel = place
    with Visitor() as alice, Visitor() as bob:
        alice.login(tunnel.url, "alice")
        bob.login(tunnel.url, "bob")
        with alice.client.stream("GET", f"{tunnel.url}/events") as stream:
            lines = stream.iter_lines()
            assert next(lines)

            idp.control(logout={"client_id": CLIENT_ID, "sub": "alice"})

            assert idp.logouts()[-1]["error"] == ""
            until(lambda: alice.get(tunnel.url).status_code == 401, "the session to end")
            with pytest.raises(Exception, match=r"(?i)closed|incomplete|reset|disconnect|peer"):
                for _ in lines:
                    pass
        assert bob.get(tunnel.url).status_code == 200
