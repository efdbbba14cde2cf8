"""Where a login leads is never decided by anybody but us (rows 43, 44, 58)."""

import re
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oidc.redirect_payloads import PAYLOADS
from tunnelctl.oidc.authorize import authorization_url
from tunnelrelay.oidc.urls import return_path, return_url

BASE = "https://app.tun.example"


def browser_host(url: str) -> str:
    """The host a browser goes to (WHATWG URL): tabs and line breaks fall out, `\\` counts as `/`."""
    url = re.sub(r"[\t\r\n]", "", url.strip("".join(map(chr, range(0x21))))).replace("\\", "/")
    scheme, _, rest = url.partition(":")
    assert scheme == "https", url
    return re.split(r"[/?#]", rest.lstrip("/"), maxsplit=1)[0].rpartition("@")[2]


def stays_home(url: str) -> bool:
    """Whether three readers agree that this is our host, and that it is one clean line."""
    is_clean = re.fullmatch(r"[\x21-\x7e]+", url) is not None
    hosts = {browser_host(url), urlsplit(url).netloc, httpx.URL(url).netloc.decode()}
    return is_clean and url.startswith(BASE + "/") and hosts == {"app.tun.example"}


def test_there_are_a_few_hundred_payloads() -> None:
    assert len(set(PAYLOADS)) >= 300


@pytest.mark.parametrize("payload", sorted(set(PAYLOADS)), ids=lambda payload: ascii(payload)[:60])
def test_row_43_a_return_address_is_always_our_own(payload: str) -> None:
    path = return_path(payload.encode("utf-8"))
    assert re.match(r"/(?![/\\])", path), path
    assert len(path) <= 2048
    assert stays_home(return_url(BASE, path))


@given(
    st.binary(max_size=80)
    | st.text(alphabet="/\\\t\r\n.:@%2f5c#?a\xa0", max_size=30).map(lambda text: text.encode("latin-1"))
)
def test_row_43_any_target_at_all_leads_home(target: bytes) -> None:
    assert stays_home(return_url(BASE, return_path(target)))


@given(st.text(max_size=60))
def test_row_43_even_a_path_that_was_not_cleaned_before_leads_home(path: str) -> None:
    assert stays_home(return_url(BASE, path))


@given(st.from_regex(r"\A/([A-Za-z0-9._~%!$&'()*+,;=:@-][A-Za-z0-9/._~%!$&'()*+,;=:@?-]*)?\Z"))
def test_an_ordinary_path_comes_back_as_it_was(path: str) -> None:
    assert return_url(BASE, return_path(path.encode())) == BASE + path


def test_our_parameters_win_over_those_in_the_providers_own_address() -> None:
    url = authorization_url(
        "https://op.example/a?tenant=x&client_id=evil&state=1&state=2", {"client_id": "me", "state": "s"}
    )
    assert parse_qsl(urlsplit(url).query) == [("tenant", "x"), ("client_id", "me"), ("state", "s")]
