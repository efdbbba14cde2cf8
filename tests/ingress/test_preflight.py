"""CORS preflights through a whole relay: what the app sees of them, and what it never sees."""

import json
from pathlib import Path

import pytest

from tests.support.apps import App
from tests.support.world import world
from tunnelctl.wire.messages import OidcSpec, PolicySpec

PREFLIGHT = [
    ("Origin", "https://shop.example"),
    ("Access-Control-Request-Method", "POST"),
    ("Access-Control-Request-Headers", "authorization"),
]
CREDENTIALS = [
    ("Cookie", "theirs=1; tunnel=" + "A" * 43),
    ("cookie", "more=2"),
    ("Authorization", "Basic dTpw"),
    ("X-Tunnel-User", "boss"),
]


@pytest.mark.parametrize("allowed", [True, False])
async def test_a_preflight_reaches_the_app_as_nobody_or_not_at_all(tmp_path: Path, app: App, allowed: bool) -> None:
    """Row 55."""
    login = OidcSpec(issuer="http://127.0.0.1:1", client_id="c", client_secret="s", allow_preflight=allowed)
    async with world(tmp_path / "data") as w:
        tunnel = await w.tunnel(app.port, subdomain="demo", policy=PolicySpec(oidc=login))
        answer = await tunnel.fetch("OPTIONS", "/echo?id=1", fields=[*PREFLIGHT, *CREDENTIALS])
        real = await tunnel.fetch("POST", "/echo?id=1", fields=[*PREFLIGHT, *CREDENTIALS], body=b"")
        rules = {seen.exchange.method: seen.exempt for seen in w.relay.parts.traffic.recent()}

    assert real.status == 401
    assert rules == {"OPTIONS": "CORS preflight" if allowed else "", "POST": ""}
    if not allowed:
        assert answer.status == 401
        assert app.seen("/echo") == []
        return
    (seen,) = app.seen("/echo")
    assert seen.method == "OPTIONS"
    names = {name.lower() for name, _ in json.loads(answer.body)["fields"]}
    assert {"origin", "access-control-request-method", "access-control-request-headers"} <= names
    assert names.isdisjoint({"cookie", "authorization", "x-tunnel-user", "x-tunnel-assertion"})
