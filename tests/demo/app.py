"""The app that the demo protects: it shows who the relay says you are. It checks no password and knows no OpenID.

Run as `python -m tests.demo.app PORT`; prints one line when it listens.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from pathlib import Path

import uvicorn
from jinja2 import Environment, FileSystemLoader, select_autoescape
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

SECRET = "figures-of-the-third-quarter"
"""On every page; `make demo CHECK=1` looks for it before and after the login."""

TICK_SECONDS = 1.0

TEMPLATES = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(["html"]))


async def home(request: Request) -> Response:
    """The page."""
    shown = [(name, value) for name, value in request.headers.items() if name.startswith("x-tunnel-")]
    page = TEMPLATES.get_template("page.html").render(who=who(request.headers), headers=shown, secret=SECRET)
    return HTMLResponse(page)


async def clock(request: Request) -> Response:
    """Server-sent events, one a second: shows that nothing on the way holds a stream back."""
    return StreamingResponse(_ticks(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _ticks() -> AsyncIterator[str]:
    while True:
        yield f"data: {datetime.now():%H:%M:%S}\n\n"
        await asyncio.sleep(TICK_SECONDS)


def who(headers: Mapping[str, str]) -> dict[str, str]:
    """The signed-in person, as the relay's headers tell."""
    try:
        groups = ", ".join(map(str, json.loads(headers.get("x-tunnel-groups", "[]"))))
    except ValueError:
        groups = ""
    named = {
        "Name": headers.get("x-tunnel-name", ""),
        "E-mail": headers.get("x-tunnel-email", ""),
        "Subject": headers.get("x-tunnel-user", ""),
        "Groups": groups,
        "Signed in at": headers.get("x-tunnel-issuer", ""),
    }
    return {label: value for label, value in named.items() if value}


app = Starlette(routes=[Route("/", home), Route("/clock", clock)])

if __name__ == "__main__":
    port = int(sys.argv[1])
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="info", access_log=False, timeout_graceful_shutdown=1)
