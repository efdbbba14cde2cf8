"""Style, scripts and icon: served from the package under names that change with their content, kept for ever."""

import functools
import hashlib
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PATH = "/assets/"
_TYPES = {
    "app.css": "text/css; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "htmx.js": "text/javascript; charset=utf-8",
    "sse.js": "text/javascript; charset=utf-8",
    "lists.css": "text/css; charset=utf-8",
    "traffic.css": "text/css; charset=utf-8",
    "traffic.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""Everything that is served; nothing else in the folder is."""


def url_of(name: str) -> str:
    """Where an asset is, by its file's name."""
    return PATH + _hashed(name)


def route() -> Route:
    """Serves them to anybody: there is nothing in them."""
    return Route(PATH + "{name}", _serve, methods=["GET"])


async def _serve(request: Request) -> Response:
    name = _by_hash().get(request.path_params["name"])
    if name is None:
        return Response(status_code=404)
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(_content(name), headers=headers, media_type=_TYPES[name])


@functools.cache
def _content(name: str) -> bytes:
    return resources.files("tunnelrelay.dashboard").joinpath("static", name).read_bytes()


@functools.cache
def _hashed(name: str) -> str:
    stem, _, ending = name.rpartition(".")
    return f"{stem}.{hashlib.sha256(_content(name)).hexdigest()[:16]}.{ending}"


@functools.cache
def _by_hash() -> dict[str, str]:
    return {_hashed(name): name for name in _TYPES}
