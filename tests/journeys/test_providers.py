"""One login at each of four providers, through real processes, by a visitor who fills in their forms.

| provider                     | PKCE     | `iss` | signs | `email_verified` | asks                      |
|------------------------------|----------|-------|-------|------------------|---------------------------|
| mock (oidc-provider-mock)    | ignored  | no    | RS256 | yes              | who you want to be        |
| node (oidc-provider)         | required | yes   | ES256 | yes              | password, consent         |
| canaille                     | required | yes   | RS512 | never            | name, password, consent   |
| liar (oauth2-mock-server)    | if sent  | no    | RS256 | yes              | nothing                   |
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest

from tests.support.app_routes import SECRET, sample_app
from tests.support.apps import App
from tests.support.idp import (
    Provider,
    canaille_provider,
    liar_provider,
    metadata,
    mock_provider,
    node_provider,
)
from tests.support.stack import Stack, Tunnel, stacked
from tests.support.visitor import Visitor, page_url

HONEST = {"token_endpoint_auth_methods_supported": None}
"""oauth2-mock-server says that it takes no client secret, which is not what is tested here."""


@dataclass(frozen=True)
class Place:
    """A tunnel guarded by one of the providers; `staff` get in, and at the second tunnel Alice's address does."""

    stack: Stack
    app: App
    idp: Provider
    tunnel: Tunnel
    by_mail: Tunnel

    def login(self, visitor: Visitor, user: str, tunnel: Tunnel | None = None) -> httpx.Response:
        """Opens a page of the tunnel and signs in."""
        if self.idp.kind == "liar":
            self.idp.control(user=user)
        return visitor.login(f"{(tunnel or self.tunnel).url}/echo?from=mail", user)


def provider(kind: str, stack: Stack) -> AbstractContextManager[Provider]:
    redirect_uris, signed_out = [stack.redirect_uri], [stack.redirect_uri.replace("/callback", "/logged-out")]
    match kind:
        case "mock":
            return mock_provider()
        case "node":
            return node_provider(redirect_uris, alg="ES256", client={"post_logout_redirect_uris": signed_out})
        case "canaille":
            return canaille_provider(redirect_uris, audience=True, post_logout_redirect_uris=signed_out)
    return liar_provider(metadata=HONEST)


@pytest.fixture(scope="module", params=["mock", "node", "canaille", "liar"])
def place(request, tmp_path_factory) -> Iterator[Place]:
    """Relay, provider, app and two tunnels, for all tests of one provider."""
    with ExitStack() as held:
        stack = held.enter_context(stacked(tmp_path_factory.mktemp("relay")))
        idp = held.enter_context(provider(request.param, stack))
        app = held.enter_context(sample_app())
        yield Place(
            stack=stack,
            app=app,
            idp=idp,
            tunnel=stack.tunnel(app.port, "--subdomain=demo", "--oidc-allow-group=staff", *idp.flags),
            by_mail=stack.tunnel(app.port, "--subdomain=by-mail", "--oidc-allow-email=alice@example.com", *idp.flags),
        )


@pytest.fixture
def visitor() -> Iterator[Visitor]:
    with Visitor() as visitor:
        yield visitor


def code_of(page: httpx.Response) -> str:
    return page.headers.get("tunnel-error", "")


def went_to(visitor: Visitor, path: str) -> str:
    """The last address with this path that the visitor was sent to."""
    return next(url for url in reversed(visitor.went) if urlsplit(url).path == path)


def with_params(url: str, **changes: str | None) -> str:
    """`url` with these parameters instead; None takes one away."""
    split = urlsplit(url)
    params = {**dict(parse_qsl(split.query)), **changes}
    return split._replace(query=urlencode({name: value for name, value in params.items() if value})).geturl()


def test_the_app_knows_who_signed_in(place, visitor):
    page = place.login(visitor, "alice")
    fields = dict(page.json()["fields"])

    assert page_url(page) == f"{place.tunnel.url}/echo?from=mail"
    assert fields["x-tunnel-issuer"] == metadata(place.idp)["issuer"]
    assert fields["x-tunnel-groups"] == '["staff"]'
    assert fields.get("x-tunnel-email") == (None if place.idp.kind == "canaille" else "alice@example.com")
    assert "cookie" not in fields


def test_who_is_in_no_group_that_is_let_in_is_told_so(place, visitor):
    page = place.login(visitor, "bob")

    assert (page.status_code, code_of(page)) == (403, "not_admitted")
    assert SECRET not in page.text
    assert visitor.get(place.tunnel.url).status_code == 401


@pytest.mark.parametrize("who", ["alice", "eve", "mallory"])
def test_a_rule_about_an_address_lets_in_only_who_proved_it(place, visitor, who):
    """Row 20. Alice herself stays out where the provider says nothing about her address (canaille)."""
    page = place.login(visitor, who, place.by_mail)
    proved = who == "alice" and place.idp.kind != "canaille"

    assert page.status_code == (200 if proved else 403)


def test_signing_out_ends_the_session_and_not_only_the_cookie(place, visitor):
    """Row 74."""
    place.login(visitor, "alice")
    old = "; ".join(f"{cookie.name}={cookie.value}" for cookie in visitor.client.cookies.jar)
    visitor.stops_at = lambda url: url.startswith(place.idp.issuer)
    visitor.submit(visitor.navigate(f"{place.tunnel.url}/_tunnel/logout"))

    assert visitor.get(f"{place.tunnel.url}/echo").status_code == 401
    with Visitor() as thief:
        assert thief.get(f"{place.tunnel.url}/echo", headers={"Cookie": old}).status_code == 401


def test_signing_out_at_the_provider_too_comes_back_to_the_endpoint(place, visitor):
    """Two of the four ask once more, on a page of their own."""
    place.login(visitor, "alice")
    page = visitor.submit(visitor.navigate(f"{place.tunnel.url}/_tunnel/logout"), everywhere="1")
    if page_url(page).startswith(place.idp.issuer):
        page = visitor.submit(page, logout="yes")

    assert urlsplit(went_to(visitor, urlsplit(metadata(place.idp)["end_session_endpoint"]).path)).query
    assert page_url(page).startswith(f"{place.tunnel.url}/_tunnel/signed-out")
    assert visitor.get(f"{place.tunnel.url}/echo").status_code == 401


def test_a_callback_that_was_used_signs_nobody_in_again(place, visitor):
    """Rows 34, 35, 36, 40. In the same browser, and in another one; the provider's code is not spent again."""
    place.login(visitor, "alice")
    callback, handoff = went_to(visitor, "/oauth2/callback"), went_to(visitor, "/_tunnel/oidc/cb")
    with Visitor() as other:
        pages = [other.navigate(url) for url in (callback, handoff)]
        assert [code_of(page) for page in pages] == ["login_restart", "login_restart"]
        assert other.get(f"{place.tunnel.url}/echo").status_code == 401
    visitor.client.cookies.clear()

    assert code_of(visitor.navigate(callback)) == "login_restart"
    assert visitor.get(f"{place.tunnel.url}/echo").status_code == 401


def test_the_back_button_leads_who_is_signed_in_back_to_where_the_login_led(place, visitor):
    place.login(visitor, "alice")
    page = visitor.navigate(went_to(visitor, "/_tunnel/oidc/cb"))

    assert (page.status_code, page_url(page)) == (200, f"{place.tunnel.url}/echo?from=mail")


@pytest.mark.parametrize("issuer", [None, "http://localhost:1", "HTTP://LOCALHOST", "same"])
def test_an_answer_that_names_another_provider_or_fails_to_name_one_goes_nowhere(place, visitor, issuer):
    """Row 33. Missing is missed only where the provider promised `iss`."""
    promised = metadata(place.idp).get("authorization_response_iss_parameter_supported", False)
    visitor.stops_at = lambda url: urlsplit(url).path == "/oauth2/callback"
    place.login(visitor, "alice")
    callback = visitor.went[-1]
    assert ("iss" in dict(parse_qsl(urlsplit(callback).query))) == promised
    visitor.stops_at = lambda _url: False
    page = visitor.navigate(with_params(callback, iss=place.idp.issuer if issuer == "same" else issuer))

    if issuer == "same" or (issuer is None and not promised):
        assert page.status_code == 200
    else:
        assert code_of(page) == "login_state_invalid"
        assert visitor.get(f"{place.tunnel.url}/echo").status_code == 401


def test_an_id_token_for_nobody_in_particular_signs_nobody_in(stack, app, visitor):
    """Row 7. canaille without a configured audience says `aud: []`."""
    with canaille_provider([stack.redirect_uri]) as idp:
        tunnel = stack.tunnel(app.port, "--subdomain=demo", *idp.flags)
        page = visitor.login(tunnel.url, "alice")

    assert code_of(page) == "provider_error"
    assert SECRET not in page.text
