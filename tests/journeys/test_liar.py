"""A provider that lies (npm oauth2-mock-server), and a whole relay that must not believe it.

Each lie is told once, at a login that is honest but for it. The page says that the provider is at fault, and nobody is
signed in. `tests/oidc/tokens/test_id_token.py` has the same rows, and more, close to the check itself.
"""

import time
from collections.abc import Iterator

import pytest

from tests.support.app_routes import SECRET, sample_app
from tests.support.apps import App
from tests.support.idp import Provider, liar_provider
from tests.support.stack import Stack, Tunnel, stacked
from tests.support.visitor import Visitor

HONEST = {"token_endpoint_auth_methods_supported": None}
NOW = int(time.time())
HOUR, DAY = 3600, 86_400
LOGOUT_EVENT = {"http://schemas.openid.net/event/backchannel-logout": {}}

LIES = {
    "row1-unsigned": {"sign": "none"},
    "row1-unsigned-spelt-oddly": {"sign": "none", "header": {"alg": "nOnE"}},
    "row1-no-signature": {"signature": ""},
    "row1-signature-of-another-token": {"signature": "c2lnbmVk"},
    "row2-signed-with-the-public-key-as-a-secret": {"sign": "hmac"},
    "row2-the-same-called-rs256": {"sign": "hmac", "header": {"alg": "RS256"}},
    "row3-the-header-brings-its-key": {"sign": "embedded"},
    "row3-the-header-brings-its-key-under-another-name": {"sign": "embedded", "header": {"kid": "mine"}},
    "row3-the-header-says-where-its-key-is": {"sign": "stranger", "header": {"jku": "http://localhost:1/jwks"}},
    "row3-the-header-brings-a-certificate": {"sign": "stranger", "header": {"x5c": ["MIIB"], "x5u": "http://[::1]/"}},
    "row4-critical-extension": {"header": {"crit": ["x"], "x": True}},
    "row4-unencoded-payload": {"header": {"crit": ["b64"], "b64": False}},
    "row5-unknown-kid": {"sign": "stranger", "header": {"kid": "other"}},
    "row5-kid-as-a-path": {"header": {"kid": "../../liar-1"}},
    "row5-kid-as-sql": {"header": {"kid": "' OR 1=1 --"}},
    "row5-kid-of-10-kb": {"header": {"kid": "k" * 10_000}},
    "row5-kid-is-a-number": {"header": {"kid": 1}},
    "row7-for-another-client": {"claims": {"aud": "other"}},
    "row7-for-nobody": {"claims": {"aud": []}},
    "row7-no-audience": {"claims": {"aud": None}},
    "row8-for-two-clients": {"claims": {"aud": ["tunnel-tests", "evil"]}},
    "row8-for-two-clients-by-the-other": {"claims": {"aud": ["tunnel-tests", "evil"], "azp": "evil"}},
    "row9-issuer-elsewhere": {"claims": {"iss": "http://localhost:1"}},
    "row9-issuer-missing": {"claims": {"iss": None}},
    "row10-expired": {"claims": {"exp": NOW - HOUR}},
    "row10-never-expires": {"claims": {"exp": None}},
    "row10-expires-in-words": {"claims": {"exp": str(NOW + HOUR)}},
    "row10-expires-at-true": {"claims": {"exp": True}},
    "row11-issued-later": {"claims": {"iat": NOW + HOUR}},
    "row11-issued-yesterday": {"claims": {"iat": NOW - DAY}},
    "row11-not-yet": {"claims": {"nbf": NOW + HOUR}},
    "row12-no-nonce": {"claims": {"nonce": None}},
    "row12-other-nonce": {"claims": {"nonce": "n"}},
    "row13-hash-of-another-access-token": {"claims": {"at_hash": "MOjJ3UPbALXR9huupmcfbQ"}},
    "row13-hash-is-a-list": {"claims": {"at_hash": []}},
    "row14-nobody": {"claims": {"sub": None}},
    "row14-empty": {"claims": {"sub": ""}},
    "row14-number": {"claims": {"sub": 7}},
    "row14-300-characters": {"claims": {"sub": "s" * 300}},
    "row14-nul": {"claims": {"sub": "alice\0"}},
    "row16-an-access-token": {"idToken": "access_token"},
    "row16-called-an-access-token": {"header": {"typ": "at+jwt"}},
    "row16-a-logout-token": {"claims": {"events": LOGOUT_EVENT}},
    "row23-encrypted": {"idToken": "e30.e30.e30.e30.e30"},
    "row24-5-mb": {"claims": {"padding": "x" * 5_000_000}},
    "row24-64-kb": {"claims": {"padding": "x" * 70_000}},
    "row24-not-a-token": {"idToken": "hello"},
    "row24-nested-100k-deep": {"idToken": f"eyJhbGciOiJSUzI1NiJ9.{'W1tb' * 15_000}.AA"},
    "row59-no-token-at-all": {"response": {"id_token": None}},
    "row59-token-is-a-number": {"response": {"id_token": 1}},
    "row59-another-kind-of-access-token": {"response": {"token_type": "mac"}},
    "row59-the-endpoint-fails": {"status": 500},
    "row59-the-endpoint-redirects": {"status": 302},
}


@pytest.fixture(scope="module")
def liar(tmp_path_factory) -> Iterator[tuple[Stack, App, Provider, Tunnel]]:
    """A relay with one tunnel that the liar guards."""
    with stacked(tmp_path_factory.mktemp("relay")) as stack, liar_provider(metadata=HONEST) as idp, sample_app() as app:
        yield stack, app, idp, stack.tunnel(app.port, "--subdomain=demo", *idp.flags)


@pytest.fixture
def visitor() -> Iterator[Visitor]:
    with Visitor() as visitor:
        yield visitor


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lie_signs_nobody_in(liar, visitor, lie):
    """Rows 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 16, 23, 24, 59."""
    _stack, app, idp, tunnel = liar
    idp.control(next=lie)
    page = visitor.navigate(tunnel.url)

    assert (page.status_code, page.headers["tunnel-error"]) == (502, "provider_error")
    assert "tunnel" not in {cookie.name for cookie in visitor.client.cookies.jar}
    assert visitor.get(tunnel.url).status_code == 401
    assert app.requests == []


def test_between_the_lies_the_same_login_works(liar, visitor):
    _stack, app, idp, tunnel = liar
    idp.control(next={})

    assert SECRET in visitor.navigate(tunnel.url).text
    app.requests.clear()


@pytest.mark.parametrize("issuer", ["{}/", "{}.evil", "https:{}", "HTTP:{}"])
def test_an_issuer_that_is_nearly_right_is_another(liar, visitor, issuer):
    """Row 9."""
    _stack, _app, idp, tunnel = liar
    claimed = issuer.format(idp.issuer if issuer.startswith("{") else idp.issuer.removeprefix("http:"))
    idp.control(next={"claims": {"iss": claimed}})

    assert visitor.navigate(tunnel.url).headers["tunnel-error"] == "provider_error"


def test_new_keys_are_fetched_at_once_and_then_whatever_kids_come_once_a_minute_at_most(stack, app):
    """Rows 5, 26, 27."""
    with liar_provider(metadata=HONEST) as idp:
        tunnel = stack.tunnel(app.port, "--subdomain=demo", *idp.flags)

        def login(**lie: object) -> str:
            idp.control(next=lie)
            with Visitor() as visitor:
                return visitor.navigate(tunnel.url).headers.get("tunnel-error", "")

        assert login() == ""
        fetched = len(idp.calls("/jwks"))

        idp.control(rotate=True)
        assert login() == ""
        assert len(idp.calls("/jwks")) == fetched + 1  # it helped, so that it does not count

        assert [login(header={"kid": f"k{turn}"}, sign="stranger") for turn in range(5)] == ["provider_error"] * 5
        assert login(sign="previous") == "provider_error"
        assert login(sign="stranger") == "provider_error"
        assert login() == ""

        assert len(idp.calls("/jwks")) == fetched + 2
