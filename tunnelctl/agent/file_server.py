"""A web server for the files of one directory, without a listening socket, for `tunnel http file:///srv/site`.

Starlette finds and sends files (ranges, ETag, Last-Modified, only paths inside the directory); uvicorn speaks HTTP on
one end of a socket pair. This module adds the page that lists a directory, and the rules about hidden files
(`is_hidden`).

Files are read with the permissions of the agent's user. Files whose name begins with a dot are not served.
"""

import asyncio
import errno
import html
import mimetypes
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

import uvicorn
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

MAX_LISTED = 5000
"""Maximum entries on the page of a directory, about 500 KB. The page says how many more there are."""
KEEP_ALIVE_SECONDS = 60
"""Seconds after which an idle connection is closed; the agent's pool closes it earlier."""
METHODS = ("GET", "HEAD")
PUBLIC_DOTFILES = frozenset({".well-known"})
"""Names that begin with a dot but are served, as they are meant to be public (RFC 8615)."""
COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
"""Content types of compressed files: `backup.sql.gz` must not be sent as text."""
NOT_FOUND = "There is no such file."


class FileServer:
    """Serves one directory on connections inside this process."""

    def __init__(self, directory: str) -> None:
        self._config = uvicorn.Config(
            DirectoryApp(directory),
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",  # a visitor's malformed request is not worth a log entry
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,  # uvicorn updates the date only in a process of its own
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
        self._config.load()
        self._state = ServerState()

    async def connect(self, make: Callable[[], asyncio.BaseProtocol]) -> asyncio.Transport:
        """Open a connection to the server and pass it to the protocol that `make` returns."""
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(self._serve, sock=theirs)
            transport, _ = await loop.create_connection(make, sock=ours)
        except BaseException:
            ours.close()
            raise
        return transport

    def _serve(self) -> HttpToolsProtocol:
        return HttpToolsProtocol(config=self._config, server_state=self._state, app_state={})


class DirectoryApp(StaticFiles):
    """An ASGI app that serves a directory: files, `index.html`, and a page that lists a directory."""

    def __init__(self, directory: str) -> None:
        super().__init__(directory=directory, check_dir=False)
        self._root = directory
        self.config_checked = True  # `DirectoryConnector` checks at each connection whether the directory exists

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one request."""
        await super().__call__(scope, receive, _within_length(send))

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Find the file for a path. Starlette calls it with a path without `..` and percent codes."""
        if scope["method"] not in METHODS:
            return PlainTextResponse("Files can only be read.", 405, {"Allow": ", ".join(METHODS)})
        return await run_in_threadpool(self._answer, path, scope)

    def _answer(self, path: str, scope: Scope) -> Response:
        try:
            return self._find(path, scope)
        except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a zero byte in the path
            # Without its directory the agent is to find out, at its next connection, that this service is away.
            fields = {} if os.path.isdir(self._root) else {"Connection": "close"}
            return PlainTextResponse(NOT_FOUND, 404, fields)
        except PermissionError:
            return PlainTextResponse("The file may not be read.", 403)
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
                return PlainTextResponse(NOT_FOUND, 404)
            raise

    def _find(self, path: str, scope: Scope) -> Response:
        found, status = self.lookup_path(path)
        if status is None or is_hidden(path) or is_hidden(self._below(found)):
            raise FileNotFoundError
        names_directory = scope["path"].endswith("/")
        if stat.S_ISREG(status.st_mode) and not names_directory:
            return self._file(found, status, scope)
        if not stat.S_ISDIR(status.st_mode):
            raise FileNotFoundError
        if not names_directory:  # relative, as the public address is unknown here
            query = scope["query_string"].decode("latin-1")
            return RedirectResponse(f"./{quote(os.path.basename(path))}/{query and '?'}{query}", 301)
        index, index_status = self.lookup_path(os.path.join(path, "index.html"))
        if index_status is not None and stat.S_ISREG(index_status.st_mode) and not is_hidden(self._below(index)):
            return self._file(index, index_status, scope)
        return HTMLResponse(_listing(scope["path"], self._entries(path, found)))

    def _below(self, found: str) -> str:
        """Return the path of a found file below the served directory, with symbolic links resolved."""
        return os.path.relpath(found, os.path.realpath(self._root))

    def _file(self, path: str, status: os.stat_result, scope: Scope) -> Response:
        if not os.access(path, os.R_OK):
            raise PermissionError
        response = FileResponse(path, stat_result=status, media_type=content_type(path))
        if self.is_not_modified(response.headers, Headers(scope=scope)):
            return NotModifiedResponse(response.headers)
        return response

    def _entries(self, path: str, found: str) -> Iterator[str]:
        """Yield the names in a directory that a visitor can open; names of directories end with a slash."""
        with os.scandir(found) as entries:
            for entry in entries:
                mode = self._mode(path, entry)
                if stat.S_ISDIR(mode):
                    yield f"{entry.name}/"
                elif stat.S_ISREG(mode):
                    yield entry.name

    def _mode(self, path: str, entry: os.DirEntry[str]) -> int:
        """Return the file type of a directory's entry; 0 for one that is not served, such as a link out of the
        directory.
        """
        if is_hidden(entry.name) or not entry.name.isprintable():
            return 0
        try:
            if not entry.is_symlink():
                return entry.stat(follow_symlinks=False).st_mode
            target, status = self.lookup_path(os.path.join(path, entry.name))
        except OSError:  # the entry has been deleted
            return 0
        return 0 if status is None or is_hidden(self._below(target)) else status.st_mode


def is_hidden(path: str) -> bool:
    """Return whether a part of a relative path begins with a dot, as in `.git/config` and `.env`."""
    parts = (part for part in PurePath(path).parts if part != ".")
    return any(part.startswith(".") and part not in PUBLIC_DOTFILES for part in parts)


def content_type(path: str) -> str:
    """Return the content type for a file's name."""
    kind, coding = mimetypes.guess_type(path)
    if coding is not None:
        return COMPRESSED.get(coding, "application/octet-stream")
    return kind or "application/octet-stream"


def _listing(path: str, entries: Iterator[str]) -> str:
    """Return the HTML page that lists a directory.

    Args:
        path: Path of the request, decoded.
    """
    names = sorted(entries, key=lambda name: (not name.endswith("/"), name.lower()))
    rows = ['<li><a href="../">../</a></li>'] if path != "/" else []
    rows += [f'<li><a href="./{quote(name)}">{html.escape(name)}</a></li>' for name in names[:MAX_LISTED]]
    more = len(names) - MAX_LISTED
    title = html.escape(f"Index of {path}")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title></head><body><h1>{title}</h1><ul>\n"
        + "\n".join(rows)
        + f"\n</ul>{f'<p>{more} more are not listed.</p>' if more > 0 else ''}</body></html>\n"
    )


def _within_length(send: Send) -> Send:
    """Return a `send` that sends no more of a body than its Content-Length.

    A log file that grows while it is sent would otherwise become longer than announced, which uvicorn treats as an
    error of the app.
    """
    left: Any = None

    async def limited(message: Message) -> None:
        nonlocal left
        if message["type"] == "http.response.start":
            length = Headers(raw=message["headers"]).get("content-length")
            left = None if length is None else int(length)
        elif left is not None:
            body = message.get("body", b"")[:left]
            left -= len(body)
            message = {**message, "body": body}
        await send(message)

    return limited
