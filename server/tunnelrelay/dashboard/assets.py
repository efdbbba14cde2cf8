"""Serve styles, scripts and the icon from the packages, under names that contain a hash of the file's content.

Starlette's StaticFiles is not used: it reads files from the disk in a thread, and media types from the machine.
"""

import functools
import hashlib

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tunnelctl.look.assets import LOOK, Asset, read_assets

PATH = "/assets/"


def url_of(name: str) -> str:
    """Return the URL path of an asset, such as `app.css`, with the hash of its content."""
    return PATH + _hashed(name)


def route() -> Route:
    """Return the route of all assets. It needs no sign-in, as assets hold no secrets."""
    return Route(PATH + "{name}", _serve, methods=["GET"])


async def _serve(request: Request) -> Response:
    asset = _by_hash().get(request.path_params["name"])
    if asset is None:
        return Response(status_code=404)
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(asset.content, headers=headers, media_type=asset.media_type)


@functools.cache
def _assets() -> dict[str, Asset]:
    return read_assets(LOOK, "tunnelrelay.dashboard")


@functools.cache
def _hashed(name: str) -> str:
    stem, _, ending = name.rpartition(".")
    return f"{stem}.{hashlib.sha256(_assets()[name].content).hexdigest()[:16]}.{ending}"


@functools.cache
def _by_hash() -> dict[str, Asset]:
    return {_hashed(name): asset for name, asset in _assets().items()}
