"""Redirect URIs: which one is printed and sent for which connection, and the paths that belong to it."""

from dataclasses import replace
from typing import get_args

import pytest

from tests.oidc.world import APP, TUN_EXAMPLE
from tunnelrelay.address import CallbackPage, PublicAddress

STRANGERS = replace(TUN_EXAMPLE, is_multi_tenant=True)
LOCAL = PublicAddress(scheme="http", domain="localhost", port=8080)
BEHIND = replace(TUN_EXAMPLE, callback_url="https://login.acme.example/back")
IDP = "https://idp.tun.example/oauth2/callback"


@pytest.mark.parametrize(
    ("address", "wish", "uri"),
    [
        (TUN_EXAMPLE, "relay", IDP),
        (TUN_EXAMPLE, "shared", IDP),
        (TUN_EXAMPLE, "host", f"https://{APP}/_tunnel/oidc/callback"),
        (STRANGERS, "relay", f"{IDP}/conn-app"),
        (STRANGERS, "shared", IDP),
        (STRANGERS, "host", f"https://{APP}/_tunnel/oidc/callback"),
        (replace(STRANGERS, port=8443), "relay", "https://idp.tun.example:8443/oauth2/callback/conn-app"),
        (LOCAL, "relay", "http://localhost:8080/oauth2/callback"),
        (replace(LOCAL, is_multi_tenant=True), "relay", "http://localhost:8080/oauth2/callback/conn-app"),
        (replace(LOCAL, domain="tun.localhost"), "relay", "http://localhost:8080/oauth2/callback"),
        (BEHIND, "relay", "https://login.acme.example/back"),
        (replace(BEHIND, is_multi_tenant=True), "relay", "https://login.acme.example/back/conn-app"),
        (replace(BEHIND, is_multi_tenant=True), "host", f"https://{APP}/_tunnel/oidc/callback"),
    ],
)
def test_a_connection_has_one_redirect_uri(address: PublicAddress, wish: str, uri: str) -> None:
    assert address.redirect_uri(wish, "conn-app", APP) == uri


@pytest.mark.parametrize("page", get_args(CallbackPage))
def test_the_pages_for_providers_lie_side_by_side(page: CallbackPage) -> None:
    moved = replace(TUN_EXAMPLE, callback_url="https://login.acme.example/sso/callback")

    assert TUN_EXAMPLE.callback_uri(page) == f"https://idp.tun.example/oauth2/{page}"
    assert TUN_EXAMPLE.callback_uri(page, "conn-app") == f"https://idp.tun.example/oauth2/{page}/conn-app"
    assert moved.callback_uri(page) == f"https://login.acme.example/sso/{page}"


def test_between_strangers_every_connection_has_a_page_of_its_own_to_come_back_to() -> None:
    assert STRANGERS.logged_out_uri("conn-app") == "https://idp.tun.example/oauth2/logged-out/conn-app"
    assert TUN_EXAMPLE.logged_out_uri("conn-app") == "https://idp.tun.example/oauth2/logged-out"
    assert BEHIND.logged_out_uri("conn-app") == "https://login.acme.example/logged-out"


@pytest.mark.parametrize(
    ("address", "wish", "kind"),
    [
        (TUN_EXAMPLE, "relay", "shared"),
        (TUN_EXAMPLE, "host", "host"),
        (STRANGERS, "relay", "connection"),
        (STRANGERS, "shared", "shared"),
        (STRANGERS, "host", "host"),
    ],
)
def test_which_callback_a_wish_comes_to_hangs_on_the_relay(address: PublicAddress, wish: str, kind: str) -> None:
    assert address.callback_kind(wish) == kind
