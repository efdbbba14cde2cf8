"""`tunnel requests` and `tunnel replay`: list the requests that visitors sent through a running agent, and send one
again.
"""

import base64
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from tunnelctl.agent.configfile import ConfigFiles
from tunnelctl.cli.command import Command
from tunnelctl.cli.exits import Exit, Failure, plain, say
from tunnelctl.cli.flags import CONFIG, NO_LOG, option

LIST_PATH, EVENTS_PATH = "/api/requests/http", "/api/requests/events"
MAX_LISTED = 10_000
PIPE_WIDTH = 200
"""Width of lines in columns when the output is not a terminal, wide enough that nothing is cut that a program could
look for."""
NARROW = 100
"""Width of a terminal, in columns, below which the size and the visitor are left out."""
MAX_DATA = 128 * 1024
"""Maximum bytes of a body given on the command line, so that its base64 fits into a request to the local API."""
WEB_ADDR = option(
    "--web-addr", "Where the agent's local API listens [default: 127.0.0.1:4040, or next to it].", "IP:PORT"
)
JSON = click.option("--json", "as_json", is_flag=True, help="Write JSON, one request a line.")


@click.command(
    cls=Command,
    sections={"Agent": (WEB_ADDR, CONFIG), "-": NO_LOG},
    examples=(
        ("tunnel requests", "List the last requests that visitors sent."),
        ("tunnel requests --follow", "Go on with those that come."),
        ("tunnel requests --json --limit 1", "Show all of the last one, with head and body in base64."),
    ),
    short_help="List the requests that visitors sent.",
)
@click.option("--limit", type=click.IntRange(1, MAX_LISTED), default=20, show_default=True, help="How many.")
@click.option("--tunnel", default="", metavar="NAME", help="Of this tunnel only.")
@click.option("--follow", is_flag=True, help="Go on with those that come, until Ctrl-C.")
@JSON
def requests(*, limit: int, tunnel: str, follow: bool, as_json: bool, web_addr: str, config: ConfigFiles) -> None:
    """List the requests that visitors sent through the agent that runs on this machine, the newest last.

    Credentials are masked. `tunnel http --inspect=false` keeps none of a tunnel.
    """
    from tunnelctl.cli.local_client import open_local_api

    client = open_local_api(web_addr, config)
    write = _write_json if as_json else _Rows().write
    query = {"limit": str(limit)} | ({"tunnel_name": tunnel} if tunnel else {})
    try:
        events = client.events(EVENTS_PATH) if follow else iter(())
        next(events, None)  # from here on, new requests are reported
        listed = client.get(LIST_PATH, query)["requests"]
        write(reversed(listed))
        over = {one["id"] for one in listed if one["is_over"]}
        for one in _over(events, tunnel):
            if one["id"] not in over:
                write([client.get(one["uri"]) if as_json else one])
    finally:
        client.close()


@click.command(
    cls=Command,
    sections={"Agent": (WEB_ADDR, CONFIG), "-": NO_LOG},
    examples=(
        ("tunnel replay 692e0a8100000007", "Send this request to its local service once more."),
        (
            "tunnel replay 692e0a8100000007 --set-header 'Accept: text/html' --path /v2/orders",
            "Send it with another header and another path.",
        ),
    ),
    short_help="Send a request of a visitor's once more.",
)
@click.argument("id_", metavar="ID")
@click.option(
    "--set-header", "set_headers", multiple=True, metavar="'NAME: VALUE'", help="In place of all of that name."
)
@click.option("--remove-header", "remove_headers", multiple=True, metavar="NAME", help="Leave it out.")
@click.option("--method", default="", metavar="METHOD", help="Another method.")
@click.option("--path", default="", metavar="PATH", help="Another path, with its query.")
@click.option("--data", default=None, metavar="TEXT|@FILE|-", help="Another body.")
@click.option("--tunnel", default="", metavar="NAME", help="To this tunnel's service instead.")
@JSON
@click.pass_context
def replay(ctx: click.Context, /, *, id_: str, as_json: bool, **given: Any) -> None:
    """Send the request ID, which `tunnel requests` lists, to its local service once more.

    It goes straight to the service, past the relay and its rules, with what it held when it came: the identity of its
    visitor too. Exits with 1 when there is no response.
    """
    from tunnelctl.cli.local_client import open_local_api

    changes = {
        "set_headers": dict(_header(text) for text in given["set_headers"]),
        "remove_headers": list(given["remove_headers"]),
        "method": given["method"],
        "uri": given["path"],
        "tunnel_name": given["tunnel"],
    }
    body = {"id": id_, "wait": True} | {name: value for name, value in changes.items() if value}
    if given["data"] is not None:
        body["body"] = base64.b64encode(_data(given["data"])).decode("ascii")
    client = open_local_api(given["web_addr"], given["config"])
    try:
        made = client.get(client.post(LIST_PATH, body)["uri"])
    finally:
        client.close()
    (_write_json if as_json else _Rows().write)([made])
    if made["response"] is None:
        say("error", made["error"] or "the local service has not answered yet")
        ctx.exit(Exit.FAILED)


class _Rows:
    """Writes requests as rows under one heading. Column widths are fixed, as more rows may follow."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH, no_color=True)
        self._has_heading = False

    def write(self, requests: Iterable[dict[str, Any]]) -> None:
        """Write these requests as further rows."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, expand=True, show_header=not self._has_heading, header_style="bold")
        is_wide = self._console.width >= NARROW
        for name, width in (("TIME", 8), ("METHOD", 7), ("STATUS", 6), ("TOOK", 8)):
            table.add_column(name, width=width, no_wrap=True)
        if is_wide:
            table.add_column("SIZE", width=8, no_wrap=True)
            table.add_column("FROM", width=28, no_wrap=True)
        table.add_column("PATH", ratio=1, no_wrap=True, overflow="ellipsis")
        table.add_column("ID", width=16, no_wrap=True)
        for one in requests:
            more = (_size(one), visitor_of(one)) if is_wide else ()
            cells = (
                _time(one),
                one["request"]["method"],
                _status(one),
                _took(one),
                *more,
                one["request"]["uri"],
                one["id"],
            )
            table.add_row(*(Text(plain(str(cell))) for cell in cells))
        if table.row_count or not self._has_heading:
            self._console.print(table)
        self._has_heading = True


def _write_json(requests: Iterable[dict[str, Any]]) -> None:
    """Write each request as a line of JSON. Bytes that could control a terminal are escaped."""
    for one in requests:
        click.echo(json.dumps(one, separators=(",", ":")).replace("\x7f", "\\u007f"))


def _over(events: Iterable[tuple[str, Any]], tunnel: str) -> Iterator[dict[str, Any]]:
    """Yield the requests that have ended, from a stream of events."""
    for name, value in events:
        if name == "gap":
            say("warning", f"{value['missed']} requests came too fast to be shown")
        elif name == "exchange" and value["is_over"] and tunnel in ("", value["tunnel_name"]):
            yield value


def visitor_of(request: dict[str, Any]) -> str:
    """Return the visitor of a request: e-mail address or name if the relay tells it, else the IP address."""
    visitor = request["visitor"] or {}
    return str(visitor.get("email") or visitor.get("name") or visitor.get("subject") or request["remote_addr"])


def _time(request: dict[str, Any]) -> str:
    return str(request["start"])[11:19]


def _status(request: dict[str, Any]) -> str:
    if request["response"] is not None:
        return str(request["response"]["status_code"])
    return "failed" if request["is_over"] else "..."


def _took(request: dict[str, Any]) -> str:
    milliseconds = request["duration"] / 1e6
    if not request["is_over"]:
        return ""
    return f"{milliseconds:.1f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def _size(request: dict[str, Any]) -> str:
    """Return the bytes of the response's body, as text."""
    size = request["response"]["body"]["size"] if request["response"] is not None else 0
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise Failure(Exit.USAGE, [f"--set-header: {text!r} has no colon"], "give it as 'Accept: text/html'")
    return name.strip(), value.strip()


def _data(text: str) -> bytes:
    """Return a body: the text itself, the content of `@FILE`, or stdin for `-`."""
    try:
        if text == "-":
            data = sys.stdin.buffer.read(MAX_DATA + 1)
        elif text.startswith("@"):
            with Path(text[1:]).expanduser().open("rb") as file:
                data = file.read(MAX_DATA + 1)
        else:
            data = text.encode()
    except OSError as error:
        raise Failure(Exit.USAGE, [f"--data: cannot read {text}: {error.strerror}"], "name another file") from error
    if len(data) > MAX_DATA:
        raise Failure(Exit.USAGE, [f"--data: more than {MAX_DATA >> 10} KiB"], "give a smaller body")
    return data
