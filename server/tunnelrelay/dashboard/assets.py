"""Serve styles, scripts and the icon from the package, under names that carry a hash of their content.

Not Starlette's StaticFiles: it reads each file from the disk in a thread, and takes its media type from the machine.
"""

import functools
import hashlib
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PATH = "/assets/"
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
"""What is served, by the file's ending; nothing else in the folder is."""


def url_of(name: str) -> str:
    """Return the path of an asset."""
    return PATH + _hashed(name)


def route() -> Route:
    """Serve the assets, which hold no secrets, without a sign-in."""
    return Route(PATH + "{name}", _serve, methods=["GET"])


async def _serve(request: Request) -> Response:
    name = _by_hash().get(request.path_params["name"])
    if name is None:
        return Response(status_code=404)
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(_content(name), headers=headers, media_type=_TYPES[name.rpartition(".")[2]])


@functools.cache
def _content(name: str) -> bytes:
    return resources.files("tunnelrelay.dashboard").joinpath("static", name).read_bytes()


@functools.cache
def _hashed(name: str) -> str:
    stem, _, ending = name.rpartition(".")
    return f"{stem}.{hashlib.sha256(_content(name)).hexdigest()[:16]}.{ending}"


@functools.cache
def _by_hash() -> dict[str, str]:
    names = (file.name for file in resources.files("tunnelrelay.dashboard").joinpath("static").iterdir())
    return {_hashed(name): name for name in names if name.rpartition(".")[2] in _TYPES}
