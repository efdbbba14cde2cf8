"""Cookies as PHP reads them: the app's arrive whatever their names are, and none that it would take for the relay's."""

import json
from pathlib import Path

import pytest

from tests.support.app_servers import app_server, seen_by_app
from tests.support.world import world

SECRET = "not-the-apps"
OURS = [
    "tunnel", "__Host-tunnel", "tunnel-tx-1", "tunnel[0]", "tunnel[a][b]", "__Host-tunnel[0]", "..Host-tunnel",
    "_.Host-tunnel", ". Host-tunnel", "_[Host-tunnel", "%5F%5FHost-tunnel", "t%75nnel", "  tunnel", "TUNNEL",
]  # fmt: skip
THEIRS = "cart[1]=one; cart[b]=two; a:b=three; a.b=four; c d=five; caf\xc3\xa9=six;; =seven ;flag; %20x=eight"


@pytest.mark.parametrize("server", ["php", "lighttpd with php-cgi"])
async def test_row71_php_reads_the_apps_cookies_and_none_of_ours(tmp_path: Path, server: str):
    sent = "; ".join([*(f"{name}={SECRET}" for name in OURS), THEIRS])
    with app_server(server, tmp_path) as port:
        async with world(tmp_path / "data") as w:
            tunnel = await w.tunnel(port, subdomain="demo")
            answer = await tunnel.fetch("GET", "/", fields=[("Cookie", sent)])
            alone = await tunnel.fetch("GET", "/", fields=[("Cookie", THEIRS)])

    told, expected = seen_by_app(answer.body), seen_by_app(alone.body)
    assert SECRET not in str(told)
    assert json.loads(told["COOKIES"]) == json.loads(expected["COOKIES"])
    assert json.loads(told["COOKIES"])["cart"] == {"1": "one", "b": "two"}
    assert expected["HTTP_COOKIE"].encode("utf-8") == THEIRS.encode("latin-1")
