"""Names, tokens, restarts and exit codes: what the two commands promise to scripts."""

import asyncio
import json
import signal
from contextlib import contextmanager

import pytest

from tests.support import processes
from tests.support.raw_http import fetch
from tests.support.stack import is_listening, stacked, until

PUBLIC = ("--domain=tun.example", "--public-url=https://*.tun.example")
"""A relay that others can reach, with something in front that ends TLS: it demands tokens."""


@contextmanager
def ended(child):
    """`child`, ended with the context whatever happens in it."""
    try:
        yield child
    finally:
        child.stop()


async def answers(stack, host: str, target: str = "/status/200") -> int:
    return (await fetch(stack.port, "GET", target, host=host)).status


async def test_an_agent_that_was_killed_takes_its_name_back_at_once(stack, app):
    first = stack.tunnel(app.port, "--subdomain=demo")
    first.child.kill()
    second = stack.tunnel(app.port, "--subdomain=demo")

    assert second.url == first.url
    assert await answers(stack, second.host_and_port) == 200


async def test_an_agent_comes_back_by_itself_after_the_relay_was_killed(stack, app):
    tunnel = stack.tunnel(app.port, "--subdomain=demo")
    mark = len(tunnel.child.lines)
    stack.relay.kill()
    stack.start_relay()
    again = tunnel.child.wait_for_record("started tunnel", after=mark)

    assert again["url"] == tunnel.url
    assert await answers(stack, tunnel.host_and_port) == 200


async def test_a_request_made_just_after_the_agent_fell_is_held_for_its_successor(stack, app):
    tunnel = stack.tunnel(app.port, "--subdomain=demo")
    tunnel.child.kill()
    waiting = asyncio.create_task(fetch(stack.port, "GET", "/status/200", host=tunnel.host_and_port))
    await asyncio.to_thread(stack.tunnel, app.port, "--subdomain=demo")

    assert (await waiting).status == 200


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
async def test_an_agent_asked_to_stop_finishes_what_is_under_way_and_exits_0(stack, app, signum):
    tunnel = stack.tunnel(app.port, "--subdomain=demo")
    visit = asyncio.create_task(fetch(stack.port, "GET", "/held", host=tunnel.host_and_port))
    await asyncio.to_thread(until, lambda: app.seen("/held"), "the request at the app")
    stopping = asyncio.create_task(asyncio.to_thread(tunnel.child.stop, signum))
    app.open_gate("held")

    assert (await visit).body == b"released\n"
    assert await stopping == 0


def test_a_newer_agent_of_the_same_owner_supersedes_the_older_which_exits_5(stack, app):
    older = stack.tunnel(app.port, "--subdomain=demo")
    stack.tunnel(app.port, "--subdomain=demo")

    assert older.child.wait() == 5


@contextmanager
def public_relay(data):
    """A relay that demands tokens, and one token each of Ann's and Bob's."""
    tokens = {owner: new_token(data, owner) for owner in ("ann", "bob")}
    with stacked(data, *PUBLIC) as stack:
        yield stack, tokens


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    """For all tests that leave the tokens as they are."""
    with public_relay(tmp_path_factory.mktemp("relay")) as found:
        yield found


def new_token(data, owner: str) -> str:
    child = processes.run("tunnelrelay", "token", "create", f"--owner={owner}", f"--data-dir={data}")
    assert child.returncode == 0, child.output
    return child.out[0]


async def test_a_revoked_token_ends_its_live_link_and_no_other(tmp_path, app):
    with public_relay(tmp_path) as (stack, tokens):
        anns = stack.tunnel(app.port, "--subdomain=ann", f"--authtoken={tokens['ann']}")
        bobs = stack.tunnel(app.port, "--subdomain=bob", f"--authtoken={tokens['bob']}")
        assert await answers(stack, anns.host_and_port) == 200

        revoked = stack.tokens("revoke", tokens["ann"])

        assert revoked.returncode == 0, revoked.output
        assert anns.child.wait() == 3
        assert await answers(stack, bobs.host_and_port) == 200


def test_tokens_are_listed_without_what_opens_the_door(public):
    stack, tokens = public
    listed = stack.tokens("list", "--json")

    assert [token["owner"] for token in json.loads("\n".join(listed.out))] == ["ann", "bob"]
    kept = b"".join(path.read_bytes() for path in stack.data_dir.iterdir() if path.is_file())
    for token in tokens.values():
        assert token not in listed.output
        assert token.encode() not in kept


@pytest.mark.parametrize("flags", [[], ["--authtoken=tt_" + "0" * 43], ["--authtoken=nonsense"]])
def test_an_agent_without_a_good_token_exits_3_and_says_what_to_do(public, app, flags):
    stack, _tokens = public
    agent = stack.agent(app.port, "--subdomain=ann", *flags)

    assert agent.wait() == 3
    assert "token" in agent.output


def test_a_name_of_another_owner_is_refused_with_exit_code_5(public, app):
    stack, tokens = public
    stack.tunnel(app.port, "--subdomain=ann", f"--authtoken={tokens['ann']}")
    taker = stack.agent(app.port, "--subdomain=ann", f"--authtoken={tokens['bob']}")

    assert taker.wait() == 5


@pytest.mark.parametrize(
    "args",
    [
        ["http"],
        ["http", "3000", "--no-such-flag"],
        ["http", "3000", "--subdomain=a", "--domain=b.example"],
        ["http", "3000", "--oidc-allow-email=a@example.com"],
        ["http", "not a port"],
    ],
)
def test_a_wrong_command_line_exits_2_and_says_what_is_wrong(args):
    child = processes.run("tunnelctl", *args)

    assert child.returncode == 2, child.output
    assert child.err


def test_an_address_where_no_relay_answers_ends_the_agent_with_exit_code_4(stack, app):
    agent = stack.agent(app.port, f"--relay=http://127.0.0.1:{app.port}")

    assert agent.wait() == 4
    assert f"127.0.0.1:{app.port}" in agent.output


def test_in_a_pipe_the_url_stands_alone_on_stdout_and_the_log_goes_to_stderr(stack, app):
    relay = f"--relay=http://127.0.0.1:{stack.port}"
    with ended(processes.python("agent", "tunnelctl", "http", str(app.port), relay, "--subdomain=demo")) as agent:
        agent.wait_for(lambda line: line == f"http://demo.localhost:{stack.port}")
        agent.stop()

    assert agent.out == [f"http://demo.localhost:{stack.port}"]
    assert any('msg="started tunnel"' in line and "url=http://demo.localhost" in line for line in agent.err)


async def test_a_relay_asked_to_stop_finishes_what_is_under_way_and_exits_0(stack, app):
    tunnel = stack.tunnel(app.port, "--subdomain=demo")
    visit = asyncio.create_task(fetch(stack.port, "GET", "/held", host=tunnel.host_and_port))
    await asyncio.to_thread(until, lambda: app.seen("/held"), "the request at the app")
    stopping = asyncio.create_task(asyncio.to_thread(stack.relay.stop))
    await asyncio.to_thread(until, lambda: not is_listening(stack.port), "the relay to stop listening")
    app.open_gate("held")

    assert (await visit).body == b"released\n"
    assert await stopping == 0


def test_an_agent_waits_for_a_relay_that_is_not_there_yet(stack, app):
    stack.relay.kill()
    agent = stack.agent(app.port, "--subdomain=demo")
    agent.wait_for(lambda line: "relay" in line)
    stack.start_relay()

    assert agent.wait_for_record("started tunnel")["url"]


def test_every_json_log_line_is_a_record_with_the_agreed_keys(stack, app):
    tunnel = stack.tunnel(app.port, "--subdomain=demo", "--name=site")
    tunnel.child.stop()
    records = tunnel.child.records()

    assert tunnel.child.out
    assert len(records) == len(tunnel.child.out), tunnel.child.output
    assert all({"t", "lvl", "msg"} <= record.keys() for record in records)
    (started,) = [record for record in records if record["msg"] == "started tunnel"]
    assert started["addr"] == f"http://localhost:{app.port}"
    assert started["url"] == f"http://demo.localhost:{stack.port}"
    assert started["name"] == "site"


async def test_the_address_answers_the_moment_started_tunnel_is_logged(stack, app):
    tunnel = stack.tunnel(app.port)

    assert await answers(stack, tunnel.host_and_port) == 200


async def test_the_relay_logs_one_line_an_exchange_and_no_secret(stack, app):
    tunnel = stack.tunnel(app.port, "--subdomain=demo", "--basic-auth=ann:open-sesame")
    fields = [("Authorization", "Basic YW5uOm9wZW4tc2VzYW1l")]
    answer = await fetch(stack.port, "GET", "/echo?key=hidden", host=tunnel.host_and_port, fields=fields)
    refused = await fetch(stack.port, "GET", "/echo", host=tunnel.host_and_port)
    stack.stop()

    lines = [record for record in stack.relay.records() if record.get("path") == "/echo"]
    assert (answer.status, refused.status) == (200, 401)
    assert [line["status"] for line in lines] == [200, 401]
    assert not any(secret in stack.relay.output for secret in ("hidden", "open-sesame", "YW5uOm9wZW4tc2VzYW1l"))


async def test_metrics_and_health_are_on_the_admin_address_only(stack, app):
    tunnel = stack.tunnel(app.port, "--subdomain=demo")
    await answers(stack, tunnel.host_and_port)

    health = await fetch(stack.admin_port, "GET", "/healthz", host="127.0.0.1")
    ready = await fetch(stack.admin_port, "GET", "/readyz", host="127.0.0.1")
    metrics = await fetch(stack.admin_port, "GET", "/metrics", host="127.0.0.1")
    outside = await fetch(stack.port, "GET", "/metrics", host=f"127.0.0.1:{stack.port}")

    assert (health.status, ready.status, metrics.status, outside.status) == (200, 200, 200, 404)
    assert "tunnelrelay_" in metrics.text
