"""An https service whose TLS does not come about: the reason that people read is the true one, and says what helps."""

import asyncio
import ssl
import threading
from contextlib import contextmanager

import pytest

from tests.support.certificates import Authority
from tests.support.ports import free_port, stop_listening
from tests.support.world import Diary, WorldTunnel, world
from tunnelctl.agent.address import RelayAddress, UpstreamAddress
from tunnelctl.agent.agent import Agent
from tunnelctl.agent.config import AgentConfig, TunnelConfig
from tunnelctl.agent.tunnel import open_upstream
from tunnelctl.agent.upstream import SPEAKS_TLS
from tunnelctl.cli.format_exchange import status_words


@contextmanager
def answering(first_bytes=b"", tls=None, host="127.0.0.1"):
    """A service in a thread of its own that closes each connection after these bytes."""
    started, stopped, port = threading.Event(), [], []

    async def serve():
        transports = []

        async def one(reader, writer):
            transports.append(writer.transport)
            if first_bytes:
                await reader.read(1)
                writer.write(first_bytes)
            writer.close()

        server = await asyncio.start_server(one, host, 0, ssl=tls)
        port.append(server.sockets[0].getsockname()[1])
        event = asyncio.Event()
        stopped.append((asyncio.get_running_loop(), event))
        started.set()
        await event.wait()
        stop_listening(server)
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:  # what was accepted a moment ago is one, too
            for transport in transports:
                transport.abort()
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        server.close()
        for transport in transports:
            transport.abort()
        await asyncio.sleep(0)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert started.wait(30)
    yield port[0]
    loop, event = stopped[0]
    loop.call_soon_threadsafe(event.set)
    thread.join(30)


def server_context(tmp_path, domain="localhost"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*Authority(tmp_path / "ca").issue(domain))
    return context


async def problem_of(port, *, scheme="https", host="127.0.0.1", verified=None):
    config = TunnelConfig(upstream=UpstreamAddress(scheme, host, port), verify_upstream=verified)
    heard = asyncio.Queue()
    upstream = open_upstream(config, heard.put_nowait)
    upstream.try_out(lambda is_there: heard.put_nowait(is_there))
    try:
        said = await heard.get()
        return "" if said is True else said
    finally:
        upstream.close()


async def test_a_certificate_of_an_unknown_authority_names_the_flag(tmp_path):
    with answering(tls=server_context(tmp_path)) as port:
        said = await problem_of(port, verified=True)
        assert "from an authority that this machine does not trust" in said
        assert "--no-upstream-tls-verify" in said
        assert await problem_of(port, verified=False) == ""
        assert await problem_of(port) == ""  # on this machine nothing is verified unless it is asked for


async def test_a_certificate_for_another_name_says_so(tmp_path, monkeypatch):
    context = server_context(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca" / "ca.pem"))
    with answering(tls=context) as port:
        assert await problem_of(port, verified=True) == ""
    with answering(tls=context, host="127.0.0.2") as port:
        said = await problem_of(port, host="127.0.0.2", verified=True)
    assert "for another name" in said
    assert "127.0.0.2" in said
    assert "--no-upstream-tls-verify" in said


@pytest.mark.parametrize("first", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n", b"\x00" * 30])
async def test_a_service_that_does_not_speak_tls_at_all_says_so(first):
    with answering(first) as port:
        said = await problem_of(port)
    assert "does not speak TLS" in said
    assert "http://" in said


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_closed_port_is_refused_and_no_riddle(scheme):
    assert await problem_of(free_port(), scheme=scheme) == "connection refused"
    assert await problem_of(free_port(), scheme=scheme, host="localhost") == "connection refused"


async def test_a_name_that_does_not_exist_is_told_as_that():
    assert (await problem_of(80, host="no-such-host.invalid", scheme="http")).startswith("the name cannot be resolved")


async def test_visitor_screen_and_relay_hear_the_same_reason(tmp_path):
    with answering(tls=server_context(tmp_path)) as port:
        async with world(tmp_path / "data") as w:
            service = UpstreamAddress("https", "127.0.0.1", port)
            offered = TunnelConfig(upstream=service, subdomain="demo", verify_upstream=True)
            config = AgentConfig(relay=RelayAddress("http", "127.0.0.1", w.port), tunnels=(offered,))
            diary = Diary()
            agent = Agent(config, diary)
            tunnel = WorldTunnel(w, agent, diary, asyncio.create_task(agent.run()))
            w.tunnels.append(tunnel)
            await tunnel.until_started()
            response = await tunnel.fetch("GET", "/", fields=[("Accept", "application/json")])
            (exchange,) = diary.exchanges
    assert response.status == 502
    assert b"does not trust" in response.body
    assert b"--no-upstream-tls-verify" in response.body
    assert "does not trust" in status_words(exchange)
    assert any(event.startswith("app: its certificate") for event in diary.events)


async def looked_at(upstream, heard):
    """What people hear after one look, None when that is nothing new."""
    done = asyncio.get_running_loop().create_future()
    upstream.try_out(done.set_result)
    await done
    return heard.get_nowait() if not heard.empty() else None


async def test_an_https_service_behind_an_http_address_is_told_as_that_and_its_return_too(tmp_path):
    heard = asyncio.Queue()
    with answering(tls=server_context(tmp_path)) as port:
        config = TunnelConfig(upstream=UpstreamAddress("http", "127.0.0.1", port))
        upstream = open_upstream(config, heard.put_nowait)
        assert await looked_at(upstream, heard) is None  # it takes connections, as far as can be seen
        upstream.note_silence()
        assert await looked_at(upstream, heard) == SPEAKS_TLS
        assert await looked_at(upstream, heard) is None
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", port)
    assert await looked_at(upstream, heard) == ""
    upstream.close()
    server.close()


async def test_a_plain_service_that_says_nothing_is_not_taken_for_one_that_speaks_tls():
    heard = asyncio.Queue()
    with answering() as port:
        upstream = open_upstream(TunnelConfig(upstream=UpstreamAddress("http", "127.0.0.1", port)), heard.put_nowait)
        upstream.note_silence()
        assert await looked_at(upstream, heard) is None
        assert upstream.problem == ""
        upstream.close()
