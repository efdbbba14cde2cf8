"""Serve styles, scripts and the icon from the packages, under names that carry a hash of their content.

Not Starlette's StaticFiles: it reads each file from the disk in a thread, and takes its media type from the machine.
"""

import functools
import hashlib

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tunnelctl.look.assets import LOOK, Asset, read_assets

PATH = "/assets/"


def url_of(name: str) -> str:
    """Return the path of an asset."""
    return PATH + _hashed(name)


def route() -> Route:
    """Serve the assets, which hold no secrets, without a sign-in."""
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
