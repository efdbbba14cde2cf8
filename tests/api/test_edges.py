"""Edges, their one route and its modules, as the API takes and shows them."""

from typing import Any

import pytest

from tests.api.asking import Program
from tests.api.office import Office, open_office

ISSUER = "https://idp.acme.example"
OIDC: dict[str, Any] = {"issuer": ISSUER, "client_id": "c", "client_secret": "s3cret-of-the-client"}
FULL: dict[str, dict[str, Any]] = {
    "oidc": {
        **OIDC,
        "enabled": False,
        "options_passthrough": True,
        "inactivity_timeout": 600,
        "maximum_duration": 7200,
        "scopes": ["openid", "groups"],
        "allow_emails": ["ann@acme.example"],
        "allow_domains": ["acme.example"],
        "allow_groups": ["staff"],
        "allow_claims": [{"name": "department", "value": "sales"}],
        "public_paths": ["/health", "/webhooks/*"],
        "auth_check_interval": 0,
        "on_recheck_error": "login",
        "groups_claim": "realm.roles",
        "email_verified": "text",
        "request_params": {"prompt": "login"},
        "audience": "https://api.acme.example",
        "require_acr": ["mfa"],
        "callback": "host",
        "bearer": ["", "api"],
        "allow_origins": ["https://www.acme.example"],
    },
    "ip_restriction": {"enabled": True, "allow": ["192.0.2.0/24"], "deny": ["192.0.2.7/32"]},
    "rate_limit": {"enabled": True, "limit": "100/1m:20", "by": "address"},
    "request_headers": {"enabled": False, "add": {"x-a": "1"}, "remove": ["x-b"]},
    "response_headers": {"enabled": True, "add": {}, "remove": ["server"]},
    "jwt": {
        "enabled": True,
        "issuers": [{"issuer": "https://ci.acme.example", "audience": "a", "claims": [{"name": "sub", "value": "ci"}]}],
    },
}


HEADERS = ("request_headers", "response_headers")
HIDDEN = "q3f7-no-pattern-knows-this"


@pytest.fixture
async def office(tmp_path) -> Office:
    return await open_office(tmp_path)


@pytest.fixture
async def ann(office) -> Program:
    return await office.program("member")


async def made(program: Program, path: str, **body: Any) -> dict[str, Any]:
    answer = await program.ask("POST", path, body)
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def route_at(program: Program, **modules: Any) -> str:
    """The path of a new edge's route."""
    edge = await made(program, "/edges/https", hostports=["shop.tun.example:443"])
    route = await made(program, f"/edges/https/{edge['id']}/routes", match_type="path_prefix", match="/", **modules)
    return f"/edges/https/{edge['id']}/routes/{route['id']}"


async def test_a_new_edge_serves_nobody_before_it_has_a_route(ann):
    edge = await made(ann, "/edges/https", description="the shop", hostports=["SHOP.tun.example"])

    assert (edge["hostports"], edge["url"]) == (["shop.tun.example:443"], "https://shop.tun.example")
    assert (edge["routes"], edge["online"], edge["owner"]) == ([], 0, "team")
    assert edge["uri"] == f"https://api.tun.example/edges/https/{edge['id']}"


@pytest.mark.parametrize("module", sorted(FULL))
async def test_what_a_module_shows_can_be_sent_back_and_says_the_same(ann, module):
    path = await route_at(ann)

    put = await ann.ask("PUT", f"{path}/{module}", FULL[module])
    shown = await ann.ask("GET", f"{path}/{module}")
    again = await ann.ask("PUT", f"{path}/{module}", shown.json())

    assert (put.status_code, again.status_code) == (200, 200), put.text + again.text
    assert put.json() == shown.json() == again.json()
    told = {name: value for name, value in FULL[module].items() if name != "client_secret"}
    if module in HEADERS:
        told["add"] = dict.fromkeys(told["add"])
    assert shown.json().items() >= told.items()
    assert (await ann.ask("GET", path)).json()[module] == shown.json()


@pytest.mark.parametrize("module", HEADERS)
async def test_a_header_s_value_is_kept_by_null_and_never_shown(ann, module):
    """Nothing in a field's name says whether its value is a secret."""
    path = await route_at(ann)
    first = await ann.ask("PUT", f"{path}/{module}", {"add": {"X-Api-Key": HIDDEN, "X-Empty": "", "X-Old": HIDDEN}})
    kept = await ann.ask("PATCH", path, {module: {"add": {"x-api-key": None, "X-New": HIDDEN + "2"}}})
    none = await ann.ask("PUT", f"{path}/{module}", {"add": {"X-Old": None}})
    shown = await ann.ask("GET", path)
    events = await ann.ask("GET", "/audit")

    assert first.json()["has_value"] == {"X-Api-Key": True, "X-Empty": False, "X-Old": True}
    assert first.json()["add"] == {"X-Api-Key": None, "X-Empty": None, "X-Old": None}
    assert kept.json()[module]["has_value"] == {"x-api-key": True, "X-New": True}
    assert (none.status_code, next(iter(none.json()["details"]))) == (400, f"{module}.add")
    assert shown.json()[module]["add"] == {"x-api-key": None, "X-New": None}
    for answer in (first, kept, none, shown, events):
        assert HIDDEN not in answer.text


async def test_a_route_is_made_with_all_of_its_modules_at_once(ann):
    path = await route_at(ann, **FULL, host_header="shop.internal")

    route = (await ann.ask("GET", path)).json()

    assert route["oidc"]["issuer"] == ISSUER
    assert {name: route[name] is not None for name in FULL} == dict.fromkeys(FULL, True)
    assert route["host_header"] == "shop.internal"
    assert route["backend"] == {"enabled": True, "backend": None, "sticky": False}


async def test_a_route_with_a_module_that_cannot_be_had_is_not_made(office, ann):
    edge = await made(ann, "/edges/https")
    good = {"match_type": "path_prefix", "match": "/"}
    refused = [
        {"oidc": {**OIDC, "issuer": "nonsense"}},
        {"backend": {"backend_id": "bkdtg_none"}},
        {"ip_restriction": {}},
        {"ip_restriction": {"allow": ["300.1.1.1"]}},
        {"rate_limit": {"limit": "10/0s"}},
        {"oidc": OIDC, "basic_auth": {"credentials": ["ann:password-of-ann"]}},
        {"host_header": "rewrite"},
    ]

    answers = [await ann.ask("POST", f"/edges/https/{edge['id']}/routes", {**good, **modules}) for modules in refused]

    assert [answer.status_code for answer in answers] == [400] * len(refused)
    assert [answer.json()["error_code"] for answer in answers] == ["ERR_TUNNEL_INVALID"] * len(refused)
    assert (await ann.ask("GET", f"/edges/https/{edge['id']}")).json()["routes"] == []


async def test_the_problem_names_the_field(ann):
    path = await route_at(ann)

    answer = await ann.ask("PUT", f"{path}/oidc", {**OIDC, "issuer": "nonsense", "inactivity_timeout": 5})

    assert set(answer.json()["details"]) >= {"oidc.issuer", "operation_id"}


async def test_an_edge_has_one_route_and_others_are_refused(ann):
    path = await route_at(ann)
    routes = path.rpartition("/")[0]

    second = await ann.ask("POST", routes, {"match_type": "path_prefix", "match": "/"})
    other = await ann.ask("POST", routes, {"match_type": "exact_path", "match": "/blog"})

    assert (second.status_code, second.json()["error_code"]) == (409, "ERR_TUNNEL_ROUTE_EXISTS")
    assert (other.status_code, other.json()["error_code"]) == (400, "ERR_TUNNEL_NOT_SUPPORTED")


@pytest.mark.parametrize(
    "body",
    [
        {"saml": {"enabled": True}},
        {"oauth": {"provider": "google"}},
        {"traffic_policy": {"value": "{}"}},
        {"webhook_verification": {"provider": "slack", "secret": "s"}},
        {"circuit_breaker": {"enabled": True}},
        {"compression": {"enabled": True}},
        {"user_agent_filter": {"deny": ["curl"]}},
        {"websocket_tcp_converter": {"enabled": True}},
        {"ip_restriction": {"ip_policy_ids": ["ipp_1"]}},
        {"oidc": {**OIDC, "cookie_prefix": "acme."}},
    ],
)
async def test_a_restriction_that_is_not_offered_is_refused_and_nothing_is_changed(ann, body):
    path = await route_at(ann)
    before = (await ann.ask("GET", path)).json()

    answer = await ann.ask("PATCH", path, body)

    assert (answer.status_code, answer.json()["error_code"]) == (400, "ERR_TUNNEL_NOT_SUPPORTED")
    assert (await ann.ask("GET", path)).json() == before


@pytest.mark.parametrize("name", ["mutual_tls", "tls_termination"])
async def test_settings_of_edges_that_are_not_offered_are_refused(ann, name):
    edge = await made(ann, "/edges/https")

    created = await ann.ask("POST", "/edges/https", {name: {"enabled": True}})
    updated = await ann.ask("PATCH", f"/edges/https/{edge['id']}", {name: {"enabled": True}})
    replaced = await ann.ask("PUT", f"/edges/https/{edge['id']}/{name}", {"enabled": True})

    assert {answer.json()["error_code"] for answer in (created, updated, replaced)} == {"ERR_TUNNEL_NOT_SUPPORTED"}


async def test_a_client_secret_is_kept_for_its_client_only(ann):
    """Row 141."""
    path = await route_at(ann, oidc=OIDC)
    without = {"issuer": ISSUER, "client_id": "c", "allow_domains": ["acme.example"]}

    same = await ann.ask("PUT", f"{path}/oidc", without)
    elsewhere = await ann.ask("PUT", f"{path}/oidc", {**without, "issuer": "https://evil.example"})

    assert (same.status_code, same.json()["client_secret"]) == (200, None)
    assert elsewhere.status_code == 400
    assert "oidc.client_secret" in elsewhere.json()["details"]


async def test_patching_a_route_leaves_what_is_absent(ann):
    path = await route_at(ann, oidc=OIDC, ip_restriction=FULL["ip_restriction"], description="the door")

    answer = await ann.ask("PATCH", path, {"match": "", "match_type": "", "jwt": FULL["jwt"], "metadata": "m"})

    told = answer.json()
    assert answer.status_code == 200, told
    assert (told["oidc"]["issuer"], told["ip_restriction"]) == (ISSUER, {**FULL["ip_restriction"], "ip_policies": []})
    assert (told["description"], told["metadata"], told["jwt"]) == ("the door", "m", FULL["jwt"])


async def test_passwords_are_taken_away_with_their_module(ann):
    path = await route_at(ann, basic_auth={"credentials": ["ann:password-of-ann", "bob:password-of-bob"]})

    shown = (await ann.ask("GET", f"{path}/basic_auth")).json()
    gone = await ann.ask("DELETE", f"{path}/basic_auth")

    assert shown == {"enabled": True, "users": ["ann", "bob"]}
    assert (gone.status_code, (await ann.ask("GET", path)).json()["basic_auth"]) == (204, None)
    assert (await ann.ask("GET", f"{path}/basic_auth")).status_code == 404


async def test_a_route_goes_with_its_modules_and_a_new_one_has_none(ann):
    path = await route_at(
        ann, ip_restriction=FULL["ip_restriction"], basic_auth={"credentials": ["ann:password-of-ann"]}
    )
    routes = path.rpartition("/")[0]

    gone = await ann.ask("DELETE", path)
    route = await made(ann, routes, match_type="path_prefix", match="/")

    assert gone.status_code == 204
    assert (await ann.ask("GET", path)).status_code == 404
    assert (route["basic_auth"], route["ip_restriction"]) == (None, None)


async def test_a_module_of_a_route_that_is_gone_is_not_set_on_its_successor(ann):
    path = await route_at(ann)
    await ann.ask("DELETE", path)
    await made(ann, path.rpartition("/")[0], match_type="path_prefix", match="/")

    assert (await ann.ask("PUT", f"{path}/oidc", OIDC)).status_code == 404
    assert (await ann.ask("DELETE", f"{path}/oidc")).status_code == 404
    assert (await ann.ask("PATCH", path, {"description": "x"})).status_code == 404


async def test_a_backend_is_a_group_or_the_edges_own_tunnels(ann):
    group = await made(ann, "/backends/tunnel_group", labels={"app": "shop"})
    path = await route_at(ann)

    set_one = await ann.ask("PUT", f"{path}/backend", {"backend_id": group["id"], "sticky": True, "enabled": False})
    in_use = await ann.ask("DELETE", f"/backends/tunnel_group/{group['id']}")
    reset = await ann.ask("DELETE", f"{path}/backend")

    ref = {"id": group["id"], "uri": group["uri"]}
    assert set_one.json() == {"enabled": False, "backend": ref, "sticky": True}
    assert (in_use.status_code, in_use.json()["error_code"]) == (409, "ERR_TUNNEL_IN_USE")
    assert reset.status_code == 204
    assert (await ann.ask("GET", f"{path}/backend")).json() == {"enabled": True, "backend": None, "sticky": False}


async def test_a_host_is_given_and_taken_away(ann):
    edge = await made(ann, "/edges/https")
    path = f"/edges/https/{edge['id']}"

    given = await ann.ask("PATCH", path, {"hostports": ["shop.tun.example:443"]})
    kept = await ann.ask("PATCH", path, {"description": "the shop"})
    taken = await ann.ask("PATCH", path, {"hostports": []})
    wrong_port = await ann.ask("PATCH", path, {"hostports": ["shop.tun.example:8443"]})
    two = await ann.ask("PATCH", path, {"hostports": ["a.tun.example", "b.tun.example"]})

    assert given.json()["hostports"] == kept.json()["hostports"] == ["shop.tun.example:443"]
    assert (taken.json()["hostports"], taken.json()["url"]) == ([], None)
    assert (wrong_port.status_code, two.status_code) == (400, 400)


async def test_a_provider_that_nobody_answers_for_is_found_out(ann):
    edge = await made(ann, "/edges/https")

    answer = await ann.ask("POST", f"/edges/https/{edge['id']}/test_oidc", OIDC)

    assert (answer.status_code, answer.json()["ok"]) == (200, False)
    assert OIDC["client_secret"] not in answer.text


# An edge with everything, by one call

LOGIN = {"issuer": "https://acme.okta.com", "client_id": "0oa1", "client_secret": HIDDEN, "allow_domains": ["acme.com"]}


async def test_an_edge_is_made_with_its_login_and_who_serves_it_by_one_call(office, ann):
    group = await made(ann, "/backends/tunnel_group", labels={"app": "shop"})
    body = {
        "hostports": ["shop.tun.example:443"],
        "oidc": LOGIN,
        "ip_restriction": {"deny": ["203.0.113.0/24"]},
        "request_headers": {"add": {"X-Api-Key": HIDDEN}},
        "host_header": "shop.internal",
        "backend": {"backend_id": group["id"], "sticky": True},
    }

    edge = await made(ann, "/edges/https", **body)

    (route,) = edge["routes"]
    assert (route["oidc"]["issuer"], route["oidc"]["allow_domains"]) == (LOGIN["issuer"], ["acme.com"])
    assert (route["backend"]["backend"]["id"], route["backend"]["sticky"]) == (group["id"], True)
    assert (route["host_header"], route["ip_restriction"]["deny"]) == ("shop.internal", ["203.0.113.0/24"])
    assert edge["redirect_uri"].startswith("https://idp.tun.example/")
    assert HIDDEN not in str(edge)
    assert edge == (await ann.ask("GET", f"/edges/https/{edge['id']}")).json()
    policy = office.parts.registry.find("shop.tun.example").policy
    assert policy.connection.client_secret.reveal() == HIDDEN


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"oidc": {**LOGIN, "issuer": "ftp://audience.acme.example"}}, "oidc.issuer"),
        ({"oidc": {**LOGIN, "client_secret": None}}, "oidc.client_secret"),
        ({"oidc": LOGIN, "ip_restriction": {"allow": ["10.0.0.1/8"]}}, "ip_restriction.allow"),
        ({"oidc": LOGIN, "request_headers": {"add": {"X-Key": None}}}, "request_headers.add"),
        ({"oidc": LOGIN, "rate_limit": {"limit": "10/0s"}}, "rate_limit.limit"),
        ({"rate_limit": {"limit": "10/s:-5"}}, "rate_limit.limit"),
        ({"oidc": LOGIN, "backend": {"backend_id": "bkdtg_none"}}, "backend.backend_id"),
        ({"oidc": LOGIN, "oauth": {"provider": "google"}}, "oauth"),
        ({"oidc": LOGIN, "basic_auth": {"credentials": ["ann:password-1"]}}, "basic_auth"),
    ],
)
async def test_of_an_edge_a_part_of_which_is_refused_nothing_is_left(office, ann, more, field):
    answer = await ann.ask("POST", "/edges/https", {"hostports": ["shop.tun.example:443"], **more})

    assert answer.status_code == 400
    assert field in answer.json()["details"]
    assert await office.store.edges.all() == await office.store.domains.all() == []
    assert await office.store.name("shop.tun.example") is None
    assert HIDDEN not in answer.text


async def test_of_an_edge_whose_host_is_taken_nothing_is_left(office, ann):
    other = await office.program("outsider")
    await made(other, "/edges/https", hostports=["shop.tun.example:443"])

    answer = await ann.ask("POST", "/edges/https", {"hostports": ["shop.tun.example:443"], "oidc": LOGIN})

    assert answer.status_code == 409
    assert [edge.owner for edge in await office.store.edges.all()] == ["other"]
