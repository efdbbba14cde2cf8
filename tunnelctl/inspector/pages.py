"""The pages of the inspector: `/inspect/http` and `/status`, with the files and figures that they load.

The pages contain no data: their scripts request the JSON API (see `localapi.api`) and `/inspect/now`, which respond
only under names of this machine, and insert the results as text. The pages' Content-Security-Policy lets nothing else
run or load.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from string import Template

from tunnelctl.agent.agent import Agent
from tunnelctl.inspector.now import now_view
from tunnelctl.localapi.api import ApiRoute
from tunnelctl.localapi.message import ApiAnswer, ApiError, ApiRequest, json_answer
from tunnelctl.look.assets import LOOK, read_assets
from tunnelctl.look.icons import sprite
from tunnelctl.series import Series

SAFETY = (
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; font-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)
"""Header fields of every page and file, in addition to those that `localapi.message.encode_answer` adds to every
response."""
PACKAGE = "tunnelctl.inspector"


@dataclass(frozen=True, slots=True)
class InspectorPage:
    """A page of the inspector.

    Attributes:
        path: Path of the page's URL.
        name: Name of the page's HTML file in `html/`, and of its script.
        title, icon: Text and icon of the page in the navigation.
    """

    path: str
    name: str
    title: str
    icon: str


PAGES = (
    InspectorPage("/inspect/http", "requests", "Requests", "traffic"),
    InspectorPage("/status", "status", "Status", "tunnel"),
)


def page_routes(agent: Agent, series: Series, version: str) -> tuple[ApiRoute, ...]:
    """Return the routes of the inspector's pages, of their files, and of the agent's state.

    Args:
        agent: The agent whose state and tunnels the pages show.
        series: The counts of the requests that the tunnels served.
        version: Version of the agent.
    """
    assets = read_assets(LOOK, PACKAGE)
    icons = sprite()

    async def show_file(request: ApiRequest, held: Mapping[str, str]) -> ApiAnswer:
        if held["name"] == "icons.svg":
            return _safe(icons, "image/svg+xml")
        if (asset := assets.get(held["name"])) is None:
            raise ApiError(404, "Not Found", {"path": request.path})
        return _safe(asset.content, f"{asset.media_type}; charset=utf-8")

    async def show_now(request: ApiRequest, held: Mapping[str, str]) -> ApiAnswer:
        view = now_view(agent, series, version=version, clock=time.monotonic(), wall=time.time())
        return json_answer(view)

    return (
        *(_page_route(page) for page in PAGES),
        ApiRoute("/static/:name", {"GET": show_file}),
        ApiRoute("/inspect/now", {"GET": show_now}),
    )


def _page_route(page: InspectorPage) -> ApiRoute:
    body = _html(page).encode()

    async def show(request: ApiRequest, held: Mapping[str, str]) -> ApiAnswer:
        return _safe(body, "text/html; charset=utf-8")

    return ApiRoute(page.path, {"GET": show})


def _html(page: InspectorPage) -> str:
    """Return the HTML of a page: the frame that all pages share, with the page's own content."""
    return Template(_part("frame")).substitute(
        title=page.title,
        name=page.name,
        links="".join(_link(each, is_current=each is page) for each in PAGES),
        main=_part(page.name),
    )


def _link(page: InspectorPage, *, is_current: bool) -> str:
    current = ' aria-current="page"' if is_current else ""
    icon = f'<svg class="icon" aria-hidden="true"><use href="/static/icons.svg#{page.icon}"/></svg>'
    return f'<li><a href="{page.path}"{current}>{icon}<span>{page.title}</span></a></li>'


def _part(name: str) -> str:
    return resources.files(PACKAGE).joinpath("html", f"{name}.html").read_text("utf-8")


def _safe(body: bytes, content_type: str) -> ApiAnswer:
    return ApiAnswer(status=200, body=body, content_type=content_type, fields=SAFETY)
