"""What the app receives about whoever is signed in: header lines that no claim breaks out of, and the assertion."""

from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from tests.oidc.world import APP, ISSUER, START, Browser, World, connection, signed_in
from tunnelrelay.policy.rules import Rules


def fields_of(block: bytes) -> dict[str, str]:
    assert block.endswith(b"\r\n")
    return dict(line.split(": ", 1) for line in block.decode("ascii").split("\r\n")[:-1])


async def test_the_app_receives_the_identity_in_headers() -> None:
    world = World()
    world.provider.claims.update(name="Ada Lovelace é 100%", groups=["a,admins", "ops"], sub="auth0|1")
    browser = Browser(world)
    await browser.sign_in()
    fields = fields_of((await world.signed_in(browser)).header_block(START))
    assertion = fields.pop("X-Tunnel-Assertion")
    assert assertion.count(".") == 2
    assert fields == {
        "X-Tunnel-User": "auth0|1",
        "X-Tunnel-Email": "alice@acme.example",
        "X-Tunnel-Name": "Ada%20Lovelace%20%C3%A9%20100%25",
        "X-Tunnel-Groups": '["a,admins","ops"]',
        "X-Tunnel-Issuer": ISSUER,
        "Ngrok-Auth-User-Id": "auth0|1",
        "Ngrok-Auth-User-Name": "Ada%20Lovelace%20%C3%A9%20100%25",
        "Ngrok-Auth-User-Email": "alice@acme.example",
    }


@pytest.mark.parametrize(
    "claims",
    [
        {"name": "x\r\nX-Tunnel-Email: boss@acme.example"},
        {"name": "n" * 5000},
        {"name": "é" * 5000},
        {"name": 7},
        {"name": "\x00"},
        {"groups": ["a\r\nX-Tunnel-User: boss"]},
        {"groups": ["g" * 300] * 100},
        {"groups": [1]},
        {"groups": {"a": 1}},
        {"groups": "ops"},
        {"preferred_username": "u" * 2000, "name": None},
        {"email": "a@b.example\r\nX: y"},
        {"groups": ["é" * 3000]},
    ],
)
async def test_no_claim_breaks_out_of_its_header_or_fills_the_head(claims: dict[str, Any]) -> None:
    world = World()
    world.provider.claims.update(claims)
    world.provider.userinfo = {"sub": "alice"}
    browser = Browser(world)
    await browser.sign_in()
    block = (await world.signed_in(browser)).header_block(START)
    fields = fields_of(block)
    assert fields["X-Tunnel-User"] == "alice"
    assert fields.get("X-Tunnel-Email", "alice@acme.example") == "alice@acme.example"
    assert len(block) < 24_000
    assert block.isascii()


async def test_a_flood_of_claims_is_kept_within_limits_and_the_rules_groups_come_first() -> None:
    rules = Rules(groups=frozenset({"ops"}), claims=frozenset({("big", "x")}))
    world = World(endpoints={APP: connection(rules=rules)})
    groups = [f"group-{number:04}-{'g' * 200}" for number in range(500)]
    world.provider.userinfo = {
        "sub": "alice",
        "groups": [*groups, "ops"],
        "big": ["x", "y" * 100_000],
        "junk": "j" * 9999,
    }
    browser = Browser(world)
    await browser.sign_in()
    session = await world.signed_in(browser)
    assert session.identity.groups[0] == "ops"
    assert len(session.claims) <= 16 * 1024
    world.restart()
    assert await world.signed_in(browser)


async def test_the_assertion_is_signed_once_a_minute_and_checks_out_against_the_published_key() -> None:
    world = World()
    browser = await signed_in(world)
    session = world.find(browser)
    block = session.header_block(START)
    assert session.header_block(START + 59) is block
    later = session.header_block(START + 60)
    assert later != block
    for at, text in ((START, block), (START + 60, later)):
        (key,) = world.signer.jwks()["keys"]
        token = jwt.decode(fields_of(text)["X-Tunnel-Assertion"], ECKey.import_key(key), algorithms=["ES256"])
        assert token.claims["aud"] == f"https://{APP}"
        assert token.claims["iss"] == "https://tun.example"
        assert (token.claims["sub"], token.claims["idp"]) == ("alice", ISSUER)
        assert (token.claims["iat"], token.claims["exp"]) == (at, at + 120)
