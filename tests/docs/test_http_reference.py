"""The tables of docs/reference/http.md: every row's bytes are sent, through a relay and through the other proxies."""

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.proxies import caddy, haproxy, nginx
from tests.support.tools import ROOT, missing, require_tool
from tests.support.waiting import PATIENCE
from tests.support.world import world

PAGE = ROOT / "docs/reference/http.md"
PROXIES = {"nginx": (nginx, "-v"), "Caddy": (caddy, "version"), "HAProxy": (haproxy, "-v")}
UNTRIED = ("waits", "other")
"""Cells that no test holds: how long a proxy waits is no claim of ours, nor what it makes of what is no answer."""


@dataclass(frozen=True, slots=True)
class Row:
    """One oddity.

    Attributes:
        data: What is sent.
        closes: The connection ends behind it.
        cells: What each column says, without its remarks.
    """

    data: bytes
    closes: bool
    cells: dict[str, str]


def table(heading: str) -> list[Row]:
    """The rows of the table under a heading."""
    section = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    names = [name.strip() for name in lines[0]]
    rows = []
    for cells in lines[2:]:
        sent = re.search(r"`([^`]+)`(.*)", cells[1])
        assert sent is not None, cells
        data = sent[1].encode("latin-1").decode("unicode_escape").encode("latin-1")
        said = {name: cell.split("(")[0].strip() for name, cell in zip(names[2:], cells[2:], strict=True)}
        rows.append(Row(data, "closes" in sent[2], said))
    return rows


ANSWERS, REQUESTS = table("What the app may answer"), table("What a visitor may send")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def app(rows: list[Row]) -> AsyncIterator[int]:
    """A service that reads a request to its end and answers `/N` with the Nth row's bytes, anything else with `ok`.

    It waits for the body, so a proxy that finds the body faulty has no answer to pass on before it says so. Its
    connections stay open.
    """
    writers: list[asyncio.StreamWriter] = []

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await read_body(head.lower(), reader)
                number = re.match(rb"GET /([0-9]+) ", head)
                row = rows[int(number[1])] if number is not None and rows else None
                writer.write(OK if row is None else row.data)
                if row is not None and row.closes:
                    writer.write_eof()
        await hang_up(writer)

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            await hang_up(writer)


async def read_body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    """The body that the fields of a head, in lower case, announce. It is empty where they announce none.

    Raises:
        asyncio.IncompleteReadError: The connection ended before the body did.
    """
    length = re.search(rb"\r\ncontent-length: *([0-9]+)", head)
    if length is not None:
        return await reader.readexactly(int(length[1]))
    body = b""
    if b"transfer-encoding: chunked" in head:
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
    return body


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


async def outcome(port: int, request: bytes, status: bytes) -> str:
    """What a visitor gets, in the words of the tables.

    Args:
        status: The status that the app meant.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(PATIENCE):
            writer.write(request)
            got, is_whole = await answer(reader)
    except ConnectionError:
        got, is_whole = b"", False
    finally:
        await hang_up(writer)
    if not got:
        return "closes"
    if not is_whole:
        return "cut"
    return "passes" if got == status else got.decode()


async def answer(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    """The status of the final answer, b"" for none, and whether its body came whole."""
    status = b"1"
    try:
        while status.startswith(b"1"):
            head = await reader.readuntil(b"\r\n\r\n")
            status = head.split()[1]
    except asyncio.IncompleteReadError:
        return b"", False
    fields = head.lower()
    try:
        if status in (b"204", b"304"):
            return status, True
        if b"content-length:" in fields or b"transfer-encoding: chunked" in fields:
            body = await read_body(fields, reader)
        else:
            body = await reader.read()
    except asyncio.IncompleteReadError:
        return status, False
    return status, status >= b"400" or body == b"ok"


async def outcomes(rows: list[Row], column: str, port: int, host: bytes, *, answers: bool) -> dict[bytes, str]:
    """What happens to each row that is tried."""
    found = {}
    for number, row in enumerate(rows):
        if row.cells[column] in UNTRIED:
            continue
        if answers:
            request = b"GET /%d HTTP/1.1\r\nHost: %b\r\n\r\n" % (number, host)
            meant = re.search(rb"HTTP/[0-9.]+ +([0-9]{3})(?: (?!Early)|\r|\n)", row.data)
            found[row.data] = await outcome(port, request, meant[1] if meant else b"")
        else:
            found[row.data] = await outcome(port, row.data.replace(b"app.localhost", host), b"200")
    return found


def said(rows: list[Row], column: str) -> dict[bytes, str]:
    return {row.data: row.cells[column] for row in rows if row.cells[column] not in UNTRIED}


def test_the_tables_have_rows_and_we_keep_nobody_waiting() -> None:
    assert len(ANSWERS) >= 50
    assert len(REQUESTS) >= 40
    assert not [row for row in (*ANSWERS, *REQUESTS) if row.cells["Tunnel"] in UNTRIED]


async def test_we_do_what_the_tables_say(tmp_path: Path) -> None:
    async with app(ANSWERS) as answering, app([]) as asked, world(tmp_path) as w:
        tunnel = await w.tunnel(answering, subdomain="answers")
        assert await outcomes(ANSWERS, "Tunnel", w.port, tunnel.host.encode(), answers=True) == said(ANSWERS, "Tunnel")
        tunnel = await w.tunnel(asked, subdomain="app")
        assert await outcomes(REQUESTS, "Tunnel", w.port, b"app.localhost", answers=False) == said(REQUESTS, "Tunnel")


def require_version(name: str, flag: str) -> None:
    """Skips the test where another version is installed than the one that the page names."""
    told = subprocess.run([require_tool(name.lower()), flag], capture_output=True, text=True, check=True)
    named = re.search(rf"{name} ([0-9.]+[0-9])", PAGE.read_text())
    assert named is not None
    if named[1] not in told.stdout + told.stderr:
        missing(f"{name} {named[1]} is not installed, which is the one in the tables")


@pytest.mark.parametrize("name", PROXIES)
async def test_the_others_do_what_the_tables_say(name: str, tmp_path: Path) -> None:
    start, version = PROXIES[name]
    require_version(name, version)
    async with app(ANSWERS) as answering, app([]) as asked:
        for rows, upstream in ((ANSWERS, answering), (REQUESTS, asked)):
            with start(upstream, tmp_path) as port:
                found = await outcomes(rows, name, port, b"app.localhost", answers=rows is ANSWERS)
            assert found == said(rows, name)
