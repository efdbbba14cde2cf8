"""`tunnel diagnose`: each obstacle is found, with what to do; where there is none it says so."""

import asyncio
import contextlib
import json
import ssl
import stat
import time

import pytest

from tests.support.certificates import LIFE, NOW, Authority
from tests.support.every import every
from tests.support.ports import free_port
from tests.support.world import world
from tunnelctl.agent.address import parse_relay
from tunnelctl.agent.diagnose import MAX_SKEW, Subject, diagnose
from tunnelctl.cli.main import run
from tunnelctl.link.proxy import parse_proxy
from tunnelrelay.agents.authtokens import create
from tunnelrelay.config.values import ListenAddress


async def nowhere(name, port):
    raise OSError(-2, "Name or service not known")


def resolving(**names):
    """A resolver that knows these names, and all others under `*`."""

    async def resolve(name, port):
        if (found := names.get(name, names.get("others"))) is None:
            return await nowhere(name, port)
        return {found}

    return resolve


def level_of(findings, topic):
    (found,) = (one for one in findings if one.topic == topic)
    assert found.level != "error" or found.fix
    return found.level


@contextlib.asynccontextmanager
async def answering(status, body=b"", until=b"\r\n\r\n"):
    async def handle(reader, writer):
        await reader.readuntil(until)
        writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(body), body))
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield Subject(relay=parse_relay(f"127.0.0.1:{server.sockets[0].getsockname()[1]}"))
    finally:
        server.close()


async def test_where_nothing_stands_in_the_way_it_says_so(tmp_path):
    async with world(tmp_path) as w:
        findings = await diagnose(Subject(relay=parse_relay(f"http://127.0.0.1:{w.port}")))
    assert [(one.topic, one.level) for one in findings] == [
        (topic, "ok") for topic in ("proxy", "dns", "tls", "relay", "clock", "wildcard")
    ]


async def test_names_under_the_domain_that_lead_nowhere_or_elsewhere_are_found(tmp_path):
    async with world(tmp_path, domain="tun.example") as w:
        token, _ = await create(w.relay.store, "ann")
        subject = Subject(relay=parse_relay(f"http://127.0.0.1:{w.port}"), token=token)
        here = {"127.0.0.1": "127.0.0.1"}
        levels = [
            level_of(await diagnose(subject, resolve=resolving(**here, **others)), "wildcard")
            for others in ({}, {"others": "203.0.113.9"}, {"others": "127.0.0.1"})
        ]
    assert levels == ["error", "warning", "ok"]


@every("ahead, level", [(0, "ok"), (MAX_SKEW - 5, "ok"), (MAX_SKEW + 5, "error"), (-MAX_SKEW - 5, "error")])
async def test_a_clock_that_is_wrong_is_found(ahead, level, tmp_path):
    async with world(tmp_path) as w:
        subject = Subject(relay=parse_relay(f"http://127.0.0.1:{w.port}"))
        findings = await diagnose(subject, clock=lambda: time.time() + ahead)
    assert level_of(findings, "clock") == level


@every(
    "status, topic",
    [(b"404 Not Found", "relay"), (b"401 Unauthorized", "authtoken"), (b"503 Service Unavailable", "relay")],
)
async def test_what_is_no_relay_or_takes_no_link_is_found(status, topic):
    async with answering(status) as subject:
        assert level_of(await diagnose(subject), topic) == "error"


async def test_a_port_where_nothing_listens_and_a_proxy_that_is_away_are_found():
    subject = Subject(relay=parse_relay(f"127.0.0.1:{free_port()}"))
    assert level_of(await diagnose(subject), "relay") == "error"
    behind = Subject(relay=subject.relay, proxy=parse_proxy(f"http://127.0.0.1:{free_port()}"))
    findings = await diagnose(behind, resolve=nowhere)
    assert [(one.topic, one.level) for one in findings] == [("proxy", "ok"), ("proxy", "error")]


async def test_a_name_that_does_not_resolve_is_found():
    findings = await diagnose(Subject(relay=parse_relay("tun.invalid")), resolve=nowhere)
    assert level_of(findings, "dns") == "error"


async def test_tls_that_does_not_come_about_is_found():
    async with answering(b"200 OK", until=b"\x16\x03") as subject:
        relay = parse_relay(f"https://127.0.0.1:{subject.relay.port}")
        assert level_of(await diagnose(Subject(relay=relay)), "tls") == "error"


async def tls_server(*files, host="127.0.0.1"):
    """A server with this certificate that says nothing, and its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    server = await asyncio.start_server(lambda reader, writer: writer.close(), host, 0, ssl=context)
    return server, server.sockets[0].getsockname()[1]


@every(
    "host, age, is_trusted, found, fix",
    [
        ("127.0.0.1", 2 * LIFE, True, "its certificate has expired", "the relay's operator has to renew"),
        ("127.0.0.1", -2 * LIFE, True, "its certificate is not valid yet", "look at this machine's clock"),
        ("127.0.0.2", NOW, True, "its certificate is for another name", "use a name that the certificate is for"),
        ("127.0.0.1", NOW, False, "this machine does not trust", "--relay-ca FILE; else the relay's operator needs"),
    ],
)
async def test_a_relays_certificate_that_is_not_good_is_found_with_what_to_do(
    host, age, is_trusted, found, fix, tmp_path
):
    authority = Authority(tmp_path)
    server, port = await tls_server(*authority.issue("tun.example", age=age), host=host)
    subject = Subject(
        relay=parse_relay(f"https://{host}:{port}"), ca_file=str(authority.ca_file) if is_trusted else None
    )
    (wrong,) = (one for one in await diagnose(subject) if one.level == "error")
    server.close()
    assert wrong.topic == "tls"
    assert found in wrong.found
    assert fix in wrong.fix


@every("has_wildcard, level", [(True, "ok"), (False, "error")])
async def test_a_certificate_that_is_not_for_names_under_the_domain_is_found(has_wildcard, level, tmp_path):
    authority = Authority(tmp_path / "ca")
    cert, key = authority.issue("tun.example", has_wildcard=has_wildcard)
    tls = {"https": ListenAddress("127.0.0.1", 0), "tls_cert": cert, "tls_key": key}
    async with world(tmp_path / "data", domain="tun.example", **tls) as w:
        token, _ = await create(w.relay.store, "ann")
        relay = parse_relay(f"https://127.0.0.1:{w.relay.https[1]}")
        subject = Subject(relay=relay, token=token, ca_file=str(authority.ca_file))
        findings = await diagnose(subject, resolve=resolving(**{"127.0.0.1": "127.0.0.1"}, others="127.0.0.1"))
    assert level_of(findings, "certificate") == level
    if level == "error":
        assert findings[-1].fix.endswith("a certificate that is for the domain and for *.tun.example")


async def test_with_ipv6_the_relay_must_answer_there_too(tmp_path):
    authority = Authority(tmp_path)
    server, port = await tls_server(*authority.issue("tun.example"), host="::1")
    relay = parse_relay(f"https://tun.example:{port}")
    subject = Subject(relay=relay, ca_file=str(authority.ca_file), ipv6=True)
    addresses = {"here": "::1", "elsewhere": "192.0.2.1", "closed": "::ffff:127.0.0.1"}
    levels = {
        name: level_of(await diagnose(subject, resolve=resolving(others=address)), "ipv6")
        for name, address in addresses.items()
    }
    server.close()
    assert levels == {"here": "ok", "elsewhere": "error", "closed": "error"}
    assert all(one.topic != "ipv6" for one in await diagnose(Subject(relay=relay), resolve=nowhere))


async def test_a_provider_where_no_login_can_work_is_found(tmp_path):
    issuer = f"http://127.0.0.1:{free_port()}"
    async with world(tmp_path) as w:
        findings = await diagnose(Subject(relay=parse_relay(f"127.0.0.1:{w.port}"), issuers=(issuer, issuer)))
    assert level_of(findings, "provider") == "error"
    assert findings[-1].found.startswith(f"{issuer}: ")


# The command


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr("platformdirs.user_config_path", lambda name: tmp_path)
    for name in ("CONFIG", "RELAY", "AUTHTOKEN", "OIDC"):
        monkeypatch.delenv(f"TUNNELCTL_{name}", raising=False)
    return tmp_path


def test_the_command_exits_with_1_and_writes_a_report_without_secrets(home, monkeypatch, capsys):
    issuer = f"http://127.0.0.1:{free_port()}"
    relay = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("TUNNELCTL_OIDC", issuer)
    (home / "tunnel.yml").write_text(f"version: 3\nagent: {{authtoken: sesame, connect_url: '{relay}'}}\n")
    report = home / "report.json"
    assert run(["diagnose", "-6", "-r", "eu", "-w", str(report)]) == 1
    out = capsys.readouterr().out
    assert "hint: " in out
    document = json.loads(report.read_text())
    assert (document["relay"], document["ok"]) == (relay, False)
    assert [one["topic"] for one in document["findings"] if one["level"] == "error"] == ["ipv6", "relay", "provider"]
    assert "sesame" not in out + report.read_text()
    assert stat.S_IMODE(report.stat().st_mode) == 0o600


def test_a_file_that_is_wrong_is_exit_code_2(home, capsys):
    (home / "tunnel.yml").write_text("version: 3\nagnet: {}\n")
    assert run(["diagnose"]) == 2
    assert "unknown key agnet" in capsys.readouterr().err
