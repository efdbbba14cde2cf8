"""Measures what an unauthenticated request costs the relay's event loop, for each route; the most expensive come first.

    .venv/bin/python -m tests.bench.anonymous [--requests 200]

Relay and client share a process: the figures are CPU milliseconds of both per request, over one keep-alive connection.
Compare them with `404 of an unknown host`, about the cost of the client and of the shortest path through the relay.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from tests.support.world import World, world

WARM = 3
"""Requests before the measurement, in which parts of the relay that are loaded at their first request are loaded."""
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
BODY = 64 * 1024
"""Bytes of the largest body that the API or a form accepts."""


def routes(w: World) -> list[tuple[str, bytes]]:
    """Return every route that needs no authentication: its name, and the bytes of a request."""
    at = {kind: f"{kind}.localhost:{w.port}" for kind in ("api", "dashboard", "idp")}
    form, large = b"secret=" + b"a" * 43, b"secret=" + b"a" * (BODY - 7)
    deep = b'{"a":' + b"[" * (BODY // 2 - 5) + b"]" * (BODY // 2 - 5) + b"}"
    own = {"Origin": f"http://{at['dashboard']}", "Sec-Fetch-Site": "same-origin"}
    page = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Accept": "text/html"}
    return [
        ("404 of an unknown host", request("GET", f"none.localhost:{w.port}", "/")),
        ("API: schema", request("GET", at["api"], "/openapi.json")),
        ("API: schema, packed", request("GET", at["api"], "/openapi.json", {"Accept-Encoding": "gzip"})),
        ("API: no key", request("GET", at["api"], "/tunnels")),
        ("API: no key, unknown path", request("GET", at["api"], "/no/such/path")),
        ("API: no key, large nested body", request("POST", at["api"], "/credentials", {"Content-Type": JSON}, deep)),
        ("API: wrong key", request("GET", at["api"], "/tunnels", {"Authorization": "Bearer ta_" + "a" * 43})),
        ("API: another site's page", request("GET", at["api"], "/tunnels", {"Origin": "https://evil.example"})),
        ("dashboard: first page", request("GET", at["dashboard"], "/", page)),
        ("dashboard: sign-in page", request("GET", at["dashboard"], "/sign-in", page)),
        ("dashboard: wrong code", request("POST", at["dashboard"], "/sign-in", own | {"Content-Type": FORM}, form)),
        ("dashboard: large form", request("POST", at["dashboard"], "/sign-in", own | {"Content-Type": FORM}, large)),
        ("dashboard: live pages, signed out", request("GET", at["dashboard"], "/live", own)),
        ("dashboard: unknown asset", request("GET", at["dashboard"], "/assets/none.css")),
        ("login: callback without a state", request("GET", at["idp"], "/oauth2/callback", page)),
        ("login: logout page", request("GET", at["idp"], "/_tunnel/logout", page)),
        ("login: keys", request("GET", at["idp"], "/.well-known/tunnel/jwks.json")),
        ("relay: landing page", request("GET", f"localhost:{w.port}", "/", page)),
        ("relay: info", request("GET", f"localhost:{w.port}", "/_tunnel/info")),
    ]


def request(method: str, host: str, path: str, fields: dict[str, str] | None = None, body: bytes = b"") -> bytes:
    """Return the bytes of a request."""
    all_fields = {"Host": host, **(fields or {})} | ({"Content-Length": str(len(body))} if body else {})
    head = "".join(f"{name}: {value}\r\n" for name, value in all_fields.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


class Client:
    """A client with one keep-alive connection, which is opened again when the relay has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None

    async def ask(self, raw: bytes) -> int:
        """Send a request and read the whole response. Returns its status."""
        for _ in range(2):
            if self._reader is None:
                self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
            self._writer.write(raw)
            try:
                return await self._answer(self._reader)
            except (asyncio.IncompleteReadError, ConnectionError):
                self._reader = None
        return 0

    async def _answer(self, reader: asyncio.StreamReader) -> int:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b"transfer-encoding: chunked" in head:
            while size := int(await reader.readline(), 16):
                await reader.readexactly(size + 2)
            await reader.readline()
        elif b"content-length: " in head:
            await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        if b"connection: close" in head:
            self._reader = None
        return int(head.split(b" ", 2)[1])


async def measure(requests: int) -> list[tuple[float, int, str]]:
    """Return for each route the CPU milliseconds of a request, its status and the route's name; the costliest first."""
    found = []
    with tempfile.TemporaryDirectory() as directory:
        async with world(Path(directory), multi_tenant=True) as w:
            for name, raw in routes(w):
                client = Client(w.port)
                for _ in range(WARM):
                    await client.ask(raw)
                began = time.process_time()
                for _ in range(requests):
                    status = await client.ask(raw)
                found.append(((time.process_time() - began) * 1000 / requests, status, name))
    return sorted(found, reverse=True)


def main() -> None:
    """Measure all routes and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=200)
    for cost, status, name in asyncio.run(measure(parser.parse_args().requests)):
        print(f"{cost:8.2f} ms  {status}  {name}")


if __name__ == "__main__":
    main()
