"""Where a login leads is never decided by anybody but us (rows 43, 44, 58)."""

import json
import re
import subprocess
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oidc.login.redirect_payloads import PAYLOADS
from tests.oidc.world import APP, ISSUER, Browser, World, connection, location
from tests.support.every import every
from tests.support.tools import require_tool
from tests.support.waiting import PATIENCE
from tunnelctl.http1.errors import HttpError
from tunnelctl.oidc.authorize import authorization_url
from tunnelrelay.oidc.login.return_path import return_path, return_url
from tunnelrelay.oidc.login.third_party_login import read_initiation

BASE = "https://app.tun.example"


ORIGINS = """
const pairs = JSON.parse(require('fs').readFileSync(0));
const origin = ([url, base]) => { try { return new URL(url, base).origin; } catch { return ''; } };
process.stdout.write(JSON.stringify(pairs.map(origin)));
"""
"""The WHATWG URL parser, as browsers have it: the origin of each address, "" when it is none."""


def browser_origins(urls: list[str]) -> list[str]:
    """Where a browser would go from a page of `BASE`."""
    node = require_tool("node", "nodejs")
    pairs = json.dumps([(url, f"{BASE}/page") for url in urls])
    ran = subprocess.run(
        [node, "-e", ORIGINS], input=pairs, capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    origins: list[str] = json.loads(ran.stdout)
    return origins


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


@every("payload", sorted(set(PAYLOADS)))
def test_row43_a_return_address_is_always_our_own(payload: str) -> None:
    path = return_path(payload.encode("utf-8"))
    assert re.match(r"/(?![/\\])", path), path
    assert len(path) <= 2048
    assert stays_home(return_url(BASE, path))


def test_row43_the_payloads_are_dangerous_to_whoever_uses_them_as_they_are() -> None:
    elsewhere = [origin for origin in browser_origins(sorted(set(PAYLOADS))) if origin not in ("", BASE)]
    assert len(elsewhere) >= 150


def test_row43_the_url_parser_of_browsers_finds_our_host_in_every_return_address() -> None:
    urls = [return_url(BASE, return_path(payload.encode("utf-8"))) for payload in PAYLOADS]
    assert set(browser_origins(urls)) == {BASE}


async def test_row43_whatever_page_was_asked_for_the_login_ends_at_our_own_host() -> None:
    ends: list[str] = []
    refused = 0
    for payload in sorted(set(PAYLOADS)):
        try:
            done = await Browser(World()).sign_in(payload.encode("utf-8").decode("latin-1"))
        except HttpError:  # no login begins: such a head is refused at the door
            refused += 1
        else:
            ends.append(location(done))
    assert len(ends) >= 150
    assert len(ends) + refused == len(set(PAYLOADS))
    assert all(map(stays_home, ends))
    assert set(browser_origins(ends)) == {BASE}


@pytest.mark.parametrize("spelling", ["{}", "https://app.tun.example{}", "https:{}", "https://app.tun.example:443{}"])
def test_row43_a_login_that_the_provider_starts_leads_to_our_own_host_or_nowhere(spelling: str) -> None:
    asked = [spelling.format(payload) for payload in sorted(set(PAYLOADS))]
    fields = [
        read_initiation([("iss", ISSUER), ("target_link_uri", target)], connection(), f"https://{APP}")
        for target in asked
    ]
    ends = [return_url(BASE, wish.return_path) for wish in fields if wish is not None]
    assert all(map(stays_home, ends))
    assert set(browser_origins(ends)) <= {BASE}


@given(
    st.binary(max_size=80)
    | st.text(alphabet="/\\\t\r\n.:@%2f5c#?a\xa0", max_size=30).map(lambda text: text.encode("latin-1"))
)
def test_row43_any_target_at_all_leads_home(target: bytes) -> None:
    assert stays_home(return_url(BASE, return_path(target)))


@given(st.text(max_size=60))
def test_row43_even_a_path_that_was_not_cleaned_before_leads_home(path: str) -> None:
    assert stays_home(return_url(BASE, path))


@given(st.from_regex(r"\A/([A-Za-z0-9._~%!$&'()*+,;=:@-][A-Za-z0-9/._~%!$&'()*+,;=:@?-]*)?\Z"))
def test_an_ordinary_path_comes_back_as_it_was(path: str) -> None:
    assert return_url(BASE, return_path(path.encode())) == BASE + path


def test_our_parameters_win_over_those_in_the_providers_own_address() -> None:
    url = authorization_url(
        "https://op.example/a?tenant=x&client_id=evil&state=1&state=2", {"client_id": "me", "state": "s"}
    )
    assert parse_qsl(urlsplit(url).query) == [("tenant", "x"), ("client_id", "me"), ("state", "s")]
