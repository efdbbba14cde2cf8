"""The directory that `file:///DIR` publishes: what of it visitors get, and what they never get."""

import asyncio
import gzip
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.asgi_tasks import requests_ended
from tests.support.every import every
from tests.support.raw_http import RawConnection, Response
from tunnelctl.agent.connector import DirectoryConnector
from tunnelctl.agent.file_server import MAX_LISTED, content_type

PAGE = b"<!doctype html><title>home</title>"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory with a neighbour that is not published."""
    return built(tmp_path)


def built(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    for name in ("docs", "plain/inner", ".git", ".well-known", "a b"):
        (site / name).mkdir(parents=True)
    (site / "index.html").write_bytes(PAGE)
    (site / "docs" / "index.html").write_bytes(b"docs")
    (site / "plain" / "notes.txt").write_text("grüße")
    (site / "plain" / "a:b <i>.txt").write_text("odd")
    (site / "data.bin").write_bytes(bytes(range(256)))
    (site / "a b" / "c%41.txt").write_text("space")
    (site / ".git" / "config").write_text("secret")
    (site / ".env").write_text("secret")
    (site / ".well-known" / "security.txt").write_text("contact")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "site-2").mkdir()
    (tmp_path / "site-2" / "secret.txt").write_text("secret")
    return site


@pytest.fixture
def traps(site: Path) -> Path:
    """The directory with what leads out of it, or is no file."""
    return trapped(site)


def trapped(site: Path) -> Path:
    for link, to in (
        ("out", ".."), ("out.txt", "../secret.txt"), ("loop", "loop"), ("into-git", ".git"), ("env.txt", ".env")
    ):  # fmt: skip
        (site / link).symlink_to(to)
    os.mkfifo(site / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(site / "socket"))
    return site


@asynccontextmanager
async def visiting(site: Path) -> AsyncIterator[RawConnection]:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport = await DirectoryConnector(str(site)).connect(lambda: protocol)
    try:
        yield RawConnection(reader, asyncio.StreamWriter(transport, protocol, reader, loop))
    finally:
        transport.write_eof()  # the server closes its end, and then ours ends
        await reader.read()
        transport.abort()
        await requests_ended()


async def ask(site: Path, target: str, method: str = "GET", **fields: str) -> Response:
    async with visiting(site) as visitor:
        given = [(name.replace("_", "-"), value) for name, value in fields.items()]
        return await visitor.request(method, target, host="demo.tun.example", fields=given)


@every(
    "target, kind, body",
    [
        ("/", "text/html; charset=utf-8", PAGE),
        ("/index.html", "text/html; charset=utf-8", PAGE),
        ("/?a=b", "text/html; charset=utf-8", PAGE),
        ("/docs/", "text/html; charset=utf-8", b"docs"),
        ("/docs/../index.html", "text/html; charset=utf-8", PAGE),
        ("/plain/notes.txt", "text/plain; charset=utf-8", "grüße".encode()),
        ("/data.bin", "application/octet-stream", bytes(range(256))),
        ("/a%20b/c%2541.txt", "text/plain; charset=utf-8", b"space"),
        ("/plain/a%3Ab%20%3Ci%3E.txt", "text/plain; charset=utf-8", b"odd"),
        ("/.well-known/security.txt", "text/plain; charset=utf-8", b"contact"),
    ],
)
async def test_a_file_comes_with_its_type_and_what_caches_need(site, target, kind, body):
    answer = await ask(site, target)
    assert (answer.status, answer.get("content-type"), answer.body) == (200, kind, body)
    assert answer.get("content-length") == str(len(body))
    assert answer.get("etag")
    assert answer.get("last-modified").endswith(" GMT")
    assert answer.get("accept-ranges") == "bytes"


async def test_head_is_get_without_the_body(site):
    async with visiting(site) as visitor:
        whole = await visitor.request("GET", "/data.bin", host="a")
        head = await visitor.request("HEAD", "/data.bin", host="a")
        assert (head.status, head.fields, head.body) == (200, whole.fields, b"")
        assert (await visitor.request("HEAD", "/plain/", host="a")).status == 200
        assert (await visitor.request("HEAD", "/nope", host="a")).status == 404


@every(
    "asked, status, body, told",
    [
        ("bytes=0-3", 206, bytes(range(4)), "bytes 0-3/256"),
        ("bytes=250-", 206, bytes(range(250, 256)), "bytes 250-255/256"),
        ("bytes=-2", 206, bytes([254, 255]), "bytes 254-255/256"),
        ("bytes=256-", 416, b"", "bytes */256"),
    ],
)
async def test_a_part_is_sent_where_one_is_asked_for(site, asked, status, body, told):
    answer = await ask(site, "/data.bin", range=asked)
    assert (answer.status, answer.get("content-range")) == (status, told)
    assert status == 416 or answer.body == body


async def test_what_a_visitor_has_already_is_not_sent_again(site):
    first = await ask(site, "/data.bin")
    tag, date = first.get("etag"), first.get("last-modified")
    for fields in ({"if_none_match": tag}, {"if_modified_since": date}):
        answer = await ask(site, "/data.bin", **fields)
        assert (answer.status, answer.body, answer.get("etag")) == (304, b"", tag)
    (site / "data.bin").write_bytes(b"new")
    assert (await ask(site, "/data.bin", if_none_match=tag)).body == b"new"
    assert (await ask(site, "/data.bin", range="bytes=0-0", if_range=tag)).status == 200


async def test_a_directory_without_an_index_is_listed(site):
    page = await ask(site, "/plain/")
    assert (page.status, page.get("content-type")) == (200, "text/html; charset=utf-8")
    links = [part.partition('"')[0] for part in page.text.split('href="')[1:]]
    assert links == ["../", "./inner/", "./a%3Ab%20%3Ci%3E.txt", "./notes.txt"]
    assert "<i>" not in page.text
    (site / "index.html").unlink()
    root = (await ask(site, "/")).text
    assert 'href="../"' not in root
    assert "well-known" in root
    assert ".git" not in root
    assert ".env" not in root


async def test_a_large_directory_is_listed_in_part(site):
    for number in range(MAX_LISTED + 7):
        (site / "plain" / "inner" / f"{number}").touch()
    page = (await ask(site, "/plain/inner/")).text
    assert page.count("<li>") == MAX_LISTED + 1
    assert "7 more are not listed" in page


@every(
    "target, where",
    [("/docs", "./docs/"), ("/plain/inner?x=1", "./inner/?x=1"), ("/a%20b", "./a%20b/"), ("//docs", "./docs/")],
)
async def test_a_directory_without_its_slash_leads_to_it_whatever_the_public_address_is(site, target, where):
    answer = await ask(site, target)
    assert (answer.status, answer.get("location")) == (301, where)


@every(
    "target",
    [
        "/nope",
        "/index.html/",
        "/index.html/x",
        "/data.bin/",
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/%2e%2e%2fsecret.txt",
        "/docs/../../secret.txt",
        "/docs/%2e%2e/%2e%2e/secret.txt",
        "/..%5csecret.txt",
        "/%5c..%5csecret.txt",
        "/../site-2/secret.txt",
        "//etc/passwd",
        "/%2fetc/passwd",
        "/etc/passwd",
        "/%00",
        "/index.html%00.txt",
        "/%ff",
        "/" + "a" * 300,
        "/" + "a/" * 3000,
        "/out",
        "/out/secret.txt",
        "/out.txt",
        "/loop",
        "/loop/x",
        "/into-git/config",
        "/env.txt",
        "/.git/config",
        "/.git/",
        "/.git",
        "/%2egit/config",
        "/docs/../.git/config",
        "/.env",
        "/.well-known/../.env",
        "/pipe",
        "/socket",
    ],
)
async def test_nothing_else_is_served(traps, target):
    answer = await ask(traps, target)
    assert (answer.status, answer.text) == (404, "There is no such file.")


PIECES = (
    *("..", "%2e%2e", "%2E.", ".", "", "%2f", "%5c", "\\", "%00", "~", ";", "out", "out.txt", "into-git", "env.txt"),
    *("secret.txt", "site-2", ".git", "config", ".env", "docs", "plain", "index.html", ".well-known"),
)


@given(st.lists(st.sampled_from(PIECES), max_size=8), st.sampled_from(("/", "%2f", "//", "")))
def test_no_path_leads_to_what_is_not_published(pieces, between):
    with tempfile.TemporaryDirectory() as folder:
        answer = asyncio.run(ask(trapped(built(Path(folder))), f"/{between.join(pieces)}"))
    assert answer.status in (200, 301, 400, 404)
    assert b"secret" not in answer.body


async def test_nothing_else_is_listed(traps):
    (traps / "index.html").unlink()
    page = (await ask(traps, "/")).text
    assert [name for name in ("out", "loop", "into-git", "env.txt", "pipe", "socket", ".git") if name in page] == []
    assert "data.bin" in page


async def test_a_link_inside_of_the_directory_is_followed(site):
    (site / "again").symlink_to("docs")
    (site / "home.html").symlink_to(site / "index.html")
    assert (await ask(site, "/again/")).body == b"docs"
    assert (await ask(site, "/home.html")).body == PAGE


@every("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"])
async def test_files_can_only_be_read(site, method):
    answer = await ask(site, "/index.html", method)
    assert (answer.status, answer.get("allow")) == (405, "GET, HEAD")


async def test_a_file_that_the_agents_user_may_not_read_is_forbidden(site, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: not str(path).endswith("data.bin"))  # root may read all
    answer = await ask(site, "/data.bin")
    assert (answer.status, answer.text) == (403, "The file may not be read.")


async def test_a_log_that_grows_while_it_is_sent_is_sent_as_long_as_it_was(site, monkeypatch):
    log = site / "app.log"
    log.write_bytes(b"line\n" * 100)
    real = os.stat

    def smaller(path, *args, **kwargs):
        found = real(path, *args, **kwargs)
        if str(path) != str(log):
            return found
        fields = list(found)
        fields[6] -= 5
        return os.stat_result(fields)

    monkeypatch.setattr("os.stat", smaller)
    answer = await ask(site, "/app.log")
    assert answer.body == b"line\n" * 99
    assert (await ask(site, "/app.log", range="bytes=-5")).body == b"line\n"


@every(
    "name, kind",
    [
        ("a.html", "text/html"),
        ("a.svg", "image/svg+xml"),
        ("a.sql.gz", "application/gzip"),
        ("a.html.xz", "application/x-xz"),
        ("a", "application/octet-stream"),
        ("a.unheard-of", "application/octet-stream"),
    ],
)
def test_what_is_compressed_is_no_text(name, kind):
    assert content_type(name) == kind


async def test_a_compressed_file_is_sent_as_it_is(site):
    (site / "a.sql.gz").write_bytes(gzip.compress(b"select"))
    answer = await ask(site, "/a.sql.gz")
    assert (gzip.decompress(answer.body), answer.get("content-encoding")) == (b"select", None)
