"""How the API says yes and no: problems, times, pages and what its schema promises."""

import json
import subprocess
import sys

import pytest

from tests.api.asking import LOCAL, REQUEST_ID, Program, through_ingress
from tests.api.office import Office, open_office
from tests.support.tools import ROOT
from tunnelrelay.api.values import rfc3339, seconds_of
from tunnelrelay.services.problems import Kind, ManageError


@pytest.fixture
async def office(tmp_path) -> Office:
    return await open_office(tmp_path)


@pytest.fixture
async def ann(office) -> Program:
    return await office.program("member")


# Problems


async def test_a_problem_has_the_members_of_the_rfc_and_of_ngrok(ann):
    answer = await ann.ask("GET", "/edges/https/edghts_nothing")

    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "urn:tunnel:problem:not_found",
        "title": "There is no such thing",
        "status": 404,
        "detail": "There is no such edge.",
        "instance": f"urn:tunnel:request:{REQUEST_ID}",
        "error_code": "ERR_TUNNEL_NOT_FOUND",
        "status_code": 404,
        "msg": "There is no such edge.",
        "details": {"operation_id": REQUEST_ID},
    }


async def test_what_is_wrong_with_a_body_is_told_by_field_without_what_was_sent(ann):
    """Row 141."""
    secret = "do-not-echo-this"
    body = {
        "client_id": 7,
        "client_secret": [secret],
        "issuer": "",
        "scopes": [1],
        secret: "x",
        "request_params": {secret + "\n": secret},
    }

    answer = await ann.ask("POST", "/edges/https/edghts_nothing/test_oidc", body)

    details = answer.json()["details"]
    assert answer.json()["error_code"] == "ERR_TUNNEL_REQUEST_INVALID"
    assert {"client_id", "issuer", "scopes.0"} <= set(details)
    assert secret not in answer.text


async def test_a_body_that_is_missing_is_a_problem_too(ann):
    answer = await ann.ask("POST", "/credentials")

    assert (answer.status_code, answer.json()["details"]) == (
        400,
        {"body": "Field required", "operation_id": REQUEST_ID},
    )


async def test_an_unknown_path_and_a_wrong_method_are_problems(ann):
    unknown, wrong = await ann.ask("GET", "/no/such/path"), await ann.ask("PUT", "/credentials", {})
    hidden = await ann.ask("GET", "/edges/https/edghts_1/mutual_tls")
    slash = await ann.ask("GET", "/credentials/")

    assert (unknown.status_code, unknown.json()["type"]) == (404, "urn:tunnel:problem:route_unknown")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, POST")
    assert (hidden.status_code, hidden.headers["allow"]) == (405, "PUT")
    assert slash.status_code == 404


async def test_a_failure_of_ours_tells_the_requests_id_and_nothing_else(office, ann, monkeypatch):
    """Row 141."""

    async def broken(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("postgresql://relay:password@db/")

    monkeypatch.setattr(office.store.edges, "page", broken)
    with pytest.raises(RuntimeError):
        await ann.ask("GET", "/edges/https")
    answer = await Lenient(office, ann).get("/edges/https")

    assert (answer["status"], answer["body"]["error_code"]) == (500, "ERR_TUNNEL_INTERNAL_ERROR")
    assert "password" not in json.dumps(answer["body"])
    assert answer["headers"][b"cache-control"] == b"no-store"


class Lenient:
    """A server that goes on when an app has failed, as uvicorn does."""

    def __init__(self, office: Office, program: Program) -> None:
        self._app = through_ingress(office.app, office.address)
        self._key = program.client.headers["authorization"].encode()

    async def get(self, path: str) -> dict:
        sent = []

        async def send(message: dict) -> None:
            sent.append(message)

        async def receive() -> dict:
            return {"type": "http.request", "body": b"", "more_body": False}

        headers = [(b"authorization", self._key)]
        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": headers}
        with pytest.raises(RuntimeError):
            await self._app(scope, receive, send)
        start, body = sent
        return {"status": start["status"], "headers": dict(start["headers"]), "body": json.loads(body["body"])}


async def test_a_store_that_is_away_is_told_with_when_to_ask_again(office, ann, monkeypatch):
    async def away(*_args: object, **_kwargs: object) -> None:
        raise ManageError(Kind.AWAY, "store_away", "The relay's database does not answer at the moment.", "Try again.")

    monkeypatch.setattr(type(office.services.edges), "page", away)

    answer = await ann.ask("GET", "/edges/https")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["msg"] == "The relay's database does not answer at the moment. Try again."


# Times


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("2026-01-31t12:00:00z", 1769860800.0),
        ("2026-01-31T13:00:00.25+01:00", 1769860800.25),
        ("2026-01-31T12:00:00.123456789Z", 1769860800.123456),
        ("2016-12-31T23:59:60Z", 1483228799.0),
    ],
)
def test_a_time_is_read_as_rfc_3339_has_it(text, at):
    assert seconds_of(text) == at


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-01-31",
        "2026-01-31 12:00:00Z",
        "2026-01-31T12:00:00",
        "2026-02-30T12:00:00Z",
        "٢026-01-31T12:00:00Z",
    ],
)
def test_anything_else_is_no_time(text):
    with pytest.raises(ValueError, match="should be a time"):
        seconds_of(text)


def test_times_are_shown_in_utc():
    assert rfc3339(1769860800.9) == "2026-01-31T12:00:00Z"


async def test_a_token_expires_when_it_was_told_to_and_may_be_told_otherwise(ann):
    made = (await ann.ask("POST", "/credentials", {"expires_at": "2027-06-01T00:00:00Z"})).json()
    path = f"/credentials/{made['id']}"

    later = (await ann.ask("PATCH", path, {"expires_at": "2027-07-01T02:00:00+02:00"})).json()
    kept = (await ann.ask("PATCH", path, {"description": "x"})).json()
    never = (await ann.ask("PATCH", path, {"expires_at": None})).json()
    past = await ann.ask("PATCH", path, {"expires_at": "2020-01-01T00:00:00Z"})

    assert [each["expires_at"] for each in (made, later, kept, never)] == [
        "2027-06-01T00:00:00Z",
        "2027-07-01T00:00:00Z",
        "2027-07-01T00:00:00Z",
        None,
    ]
    assert (past.status_code, list(past.json()["details"])) == (400, ["expires_at", "operation_id"])


async def test_a_secret_is_shown_once(ann):
    """Row 141."""
    for path in ("/credentials", "/api_keys"):
        made = (await ann.ask("POST", path, {"description": "x"})).json()

        assert made["token"]
        assert (await ann.ask("GET", f"{path}/{made['id']}")).json() == {**made, "token": None}


# The schema


async def test_the_schema_is_for_everybody_and_names_the_public_address(tmp_path):
    local = await open_office(tmp_path, LOCAL)

    answer = await Program(local.app, address=LOCAL).ask("GET", "/_tunnel/api/openapi.json")

    assert answer.json()["openapi"] == "3.1.0"
    assert answer.json()["servers"] == [
        {"url": "http://api.localhost:8080"},
        {"url": "http://127.0.0.1:8080/_tunnel/api"},
    ]
    assert answer.json()["security"] == [{"apiKey": []}]


async def test_the_schema_is_written_once_and_not_sent_to_who_has_it(office, monkeypatch):
    monkeypatch.setattr(json, "dumps", None)
    stranger = Program(office.app)
    first = await stranger.ask("GET", "/openapi.json", headers={"Accept-Encoding": "identity"})
    packed = await stranger.ask("GET", "/openapi.json", headers={"Accept-Encoding": "br, gzip"})
    again = await stranger.ask("GET", "/openapi.json", headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})
    other = await stranger.ask("GET", "/openapi.json", headers={"If-None-Match": '"other"'})

    assert first.json() == packed.json() == other.json()
    assert (packed.headers["content-encoding"], packed.headers["vary"]) == ("gzip", "Accept-Encoding")
    assert int(packed.headers["content-length"]) < int(first.headers["content-length"]) / 5
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert first.headers.get_list("cache-control") == ["public, max-age=3600"]


async def test_the_schema_is_only_read(office):
    answers = [await Program(office.app).ask(method, "/openapi.json") for method in ("POST", "PUT", "DELETE")]

    assert {(answer.status_code, answer.headers["allow"]) for answer in answers} == {(405, "GET, HEAD")}


def test_a_relay_starts_without_the_api_in_memory():
    code = (
        "import sys, tunnelrelay.app.relay, tunnelrelay.cli.main as _;"
        " print({'fastapi', 'pydantic'} & set(sys.modules))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={"PYTHONPATH": "server:."},
    )

    assert done.stdout.strip() == "set()"
