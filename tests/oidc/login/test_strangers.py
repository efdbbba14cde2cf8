"""A whole relay between owners who are strangers: two agents with their own tokens, two providers, one victim."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from tests.oidc.login.test_coat import ISS, MALLORYS, Network
from tests.oidc.world import APP, CLIENT_ID, CLIENT_SECRET, EVIL, ISSUER, LyingProvider
from tests.support.apps import App
from tests.support.raw_http import Response, fetch
from tests.support.world import World, WorldTunnel, world
from tunnelctl.wire.messages import OidcSpec, PolicySpec
from tunnelrelay.agents import authtokens
from tunnelrelay.config.values import PublicOrigin
from tunnelrelay.policy.rules import Connection

PAGE = [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"), ("Accept", "text/html")]
BAD_STATE = (400, "login_state_invalid")


class Town:
    """The relay, what stands behind it, and what a visitor does there."""

    def __init__(self, w: World, honest: LyingProvider, hostile: LyingProvider) -> None:
        self.w = w
        self.honest, self.hostile = honest, hostile
        self.cookies: dict[str, dict[str, str]] = {}

    async def opens(self, owner: str, app: App, subdomain: str, **oidc: Any) -> WorldTunnel:
        """An owner's agent, with a token of that owner."""
        token, _ = await authtokens.create(self.w.relay.store, owner)
        client = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        policy = PolicySpec(oidc=OidcSpec(**{"issuer": ISSUER, **client, **oidc}))
        return await self.w.tunnel(app.port, token=token, subdomain=subdomain, policy=policy)

    def connection(self, host: str) -> Connection:
        found = self.w.relay.registry.connection_of(host)
        assert found is not None
        return found

    def registered(self, host: str) -> str:
        """The redirect URI that the owner was told to register."""
        connection = self.connection(host)
        return self.w.relay.address.redirect_uri(connection.callback, connection.id, host)

    async def goes(self, url: str) -> Response:
        """The victim's browser opens a page of the relay, with the cookies of that host."""
        parts = urlsplit(url)
        jar = self.cookies.setdefault(parts.netloc, {})
        cookie = [("Cookie", "; ".join(f"{name}={value}" for name, value in jar.items()))] if jar else []
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        response = await fetch(self.w.port, "GET", target, host=parts.netloc, fields=[*PAGE, *cookie])
        for value in response.get_all("set-cookie"):
            name, _, rest = value.partition("=")
            jar[name] = rest.partition(";")[0]
        return response

    def signs_in(self, location: str, **lies: str) -> str:
        """The victim signs in at the honest provider, which answers at the redirect URI it was given."""
        asked = dict(parse_qsl(urlsplit(location).query))
        return f"{asked['redirect_uri']}?{urlencode(self.honest.authorize(location, **lies))}"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Town]:
    """A running relay whose calls to providers go to those of the town."""
    honest, hostile = (LyingProvider(issuer, clock=time.time) for issuer in (ISSUER, MALLORYS))
    public = {"domain": "tun.example", "public_url": PublicOrigin("https", "tun.example", 443)}
    async with world(tmp_path / "data", Network(honest, hostile), **public, multi_tenant=True) as w:
        yield Town(w, honest, hostile)


def outcome(response: Response) -> tuple[int, str]:
    return response.status, response.get("tunnel-error") or ""


@pytest.mark.parametrize("mallorys", ["relay", "shared", "host"])
@pytest.mark.parametrize("alices", ["relay", "host"])
@pytest.mark.parametrize("sends_iss", [True, False])
@pytest.mark.parametrize("kind", ["bounced", "mixed"])
async def test_a_strangers_provider_gets_no_code_of_another_owners_users(
    place: Town, app: App, kind: str, sends_iss: bool, alices: str, mallorys: str
) -> None:
    """Rows 30, 31."""
    place.honest.metadata[ISS] = sends_iss
    place.hostile.metadata[ISS] = mallorys == "shared"
    if kind == "mixed":
        place.hostile.metadata["authorization_endpoint"] = f"{ISSUER}/authorize"
    await place.opens("alice", app, "app", callback=alices)
    await place.opens("mallory", app, "evil", issuer=MALLORYS, callback=mallorys)

    started = await place.goes(f"https://{EVIL}/")
    location = started.get("location") or ""
    assert location.startswith(f"{ISSUER if kind == 'mixed' else MALLORYS}/authorize")
    # His login page, or a click, sends the victim on to Alice's provider with what is registered there.
    asked = dict(parse_qsl(urlsplit(location).query)) | {"redirect_uri": place.registered(APP), "client_id": CLIENT_ID}
    answer = place.signs_in(f"{ISSUER}/authorize?{urlencode(asked)}", iss=ISSUER if sends_iss else "")
    refused = await place.goes(answer)

    assert outcome(refused) == (BAD_STATE if alices == "relay" else (400, "login_restart"))
    assert refused.get("location") is None
    assert "code-0" not in refused.text
    assert place.hostile.calls_to("/token") == place.honest.calls_to("/token") == []
    assert app.seen("/") == []


@pytest.mark.parametrize("callback", ["relay", "host", "shared"])
async def test_logins_work_between_strangers(place: Town, app: App, callback: str) -> None:
    """Row 30."""
    place.honest.metadata[ISS] = True
    await place.opens("alice", app, "app", callback=callback)
    started = await place.goes(f"https://{APP}/?from=mail")
    url = place.signs_in(started.get("location") or "", iss=ISSUER)
    assert url.startswith(place.registered(APP) + "?")
    hops = 0
    while (arrived := await place.goes(url)).status == 303:
        url, hops = arrived.get("location") or "", hops + 1
    assert (arrived.status, url) == (200, f"https://{APP}/?from=mail")
    assert hops == (1 if callback == "host" else 2)
    assert app.requests[-1].get("x-tunnel-user") == "alice"


async def test_two_owners_with_one_client_have_two_redirect_uris(place: Town, app: App) -> None:
    """Row 32."""
    await place.opens("alice", app, "app")
    await place.opens("mallory", app, "evil")
    assert place.registered(APP) != place.registered(EVIL)
    for host in (APP, EVIL):
        asked = dict(parse_qsl(urlsplit((await place.goes(f"https://{host}/")).get("location") or "").query))
        assert asked["redirect_uri"] == place.registered(host)


async def test_a_provider_that_does_not_name_itself_cannot_be_behind_the_shared_callback(place: Town, app: App) -> None:
    """Row 30."""
    await place.opens("alice", app, "app", callback="shared")
    assert outcome(await place.goes(f"https://{APP}/")) == (502, "provider_error")
