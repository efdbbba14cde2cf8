"""The agent's local API: the paths and methods, and what each does. START HERE.

It is compatible with ngrok's agent, so that programs that control `ngrok` work unchanged: equal paths, bodies, error
objects and numbers. In the other modules, `server` reads and writes HTTP, `guard` refuses requests of web pages,
`listing` chooses the tunnels to show, and `views` formats them. `agent.definition` reads the bodies of POST and PUT,
with the reader of the configuration file.

Other parts of the agent add paths of their own as further `ApiRoute`s.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from tunnelctl.agent.address import names_path
from tunnelctl.agent.agent import Agent
from tunnelctl.agent.config import TunnelConfig
from tunnelctl.agent.definition import DefinitionInvalid, define
from tunnelctl.agent.errors import AddError, DuplicateName, NotConnected
from tunnelctl.agent.ngrok_codes import with_ngrok_code
from tunnelctl.agent.status import SessionState
from tunnelctl.agent.tunnel import AgentTunnel
from tunnelctl.agent.tunnelfile import FileTunnel
from tunnelctl.agent.yamlfile import parse_json
from tunnelctl.localapi.caller import NOT_YOURS, is_own_user
from tunnelctl.localapi.guard import is_through_tunnel, refusal
from tunnelctl.localapi.listing import ApiListing, Entry
from tunnelctl.localapi.message import JSON, ApiAnswer, ApiError, ApiRequest, json_answer, text_answer
from tunnelctl.localapi.server import ApiWatcher, LocalServer
from tunnelctl.localapi.views import status_view, tunnel_view

NOT_READY = "a successful ngrok tunnel session has not yet been established"
"""npm `ngrok` repeats its request only while the error has exactly this text."""
NOT_YOURS_TO_PUBLISH = f"{NOT_YOURS}; name it on the command line, or in the configuration file"

Handler = Callable[[ApiRequest, Mapping[str, str]], Awaitable[ApiAnswer]]
"""Type of functions that handle a request. The second argument has the values of the route's `:name` segments,
percent-decoded."""
Build = Callable[[FileTunnel], TunnelConfig]
"""Type of functions that create the tunnel of a definition; they raise DefinitionInvalid."""


@dataclass(frozen=True, slots=True)
class ApiRoute:
    """A path of the API, with its handlers.

    Attributes:
        path: The path's segments; one that begins with a colon matches any text.
        methods: Handler by HTTP method. HEAD is handled as GET.
    """

    path: str
    methods: Mapping[str, Handler]


class LocalApi:
    """The local API of one agent.

    Args:
        agent: The agent that the API controls.
        build: Function that creates tunnels from definitions.
        version: Version of the agent, for its status.
        routes: Paths that other parts of the agent add.
    """

    def __init__(self, agent: Agent, build: Build, *, version: str, routes: Sequence[ApiRoute] = ()) -> None:
        self._agent = agent
        self._build = build
        self._version = version
        self._listing = ApiListing(agent)
        self._replacing = asyncio.Lock()
        self._bound_host = ""
        self._routes = (
            ApiRoute("/", {"GET": self._to_inspector}),
            ApiRoute("/api", {"GET": self._show_root}),
            ApiRoute("/api/status", {"GET": self._show_status}),
            *self._routes_of("tunnels"),
            *self._routes_of("endpoints", {"PUT": self._replace}),
            *routes,
        )
        self._tunnel_routes = (
            ApiRoute("/status", {"GET": self._show_state}),
            ApiRoute("/api/status", {"GET": self._show_status}),
        )

    def serve(self, listener: socket.socket, watcher: ApiWatcher) -> LocalServer:
        """Return the server for this socket, as an async context manager."""
        self._bound_host, port = listener.getsockname()[:2]
        self._agent.local_api = self._bound_host, port
        return LocalServer(listener, self.answer, watcher)

    async def answer(self, request: ApiRequest) -> ApiAnswer:
        """Handle a request and return the response.

        Raises:
            ApiError: The request cannot be executed.
        """
        hosts = {urlsplit(url).hostname or "" for tunnel in self._agent.tunnels.values() for url in tunnel.urls}
        if (refused := refusal(request, bound_host=self._bound_host, tunnel_hosts=hosts)) is not None:
            return refused
        for route in self._tunnel_routes if is_through_tunnel(request, self._bound_host) else self._routes:
            if (held := _held(route.path, request.path)) is not None:
                method = "GET" if request.method == "HEAD" else request.method
                if (handler := route.methods.get(method)) is None:
                    raise _not_allowed(route, request.method)
                if method in ("POST", "PUT"):
                    _check_type(request)
                return await handler(request, held)
        raise ApiError(404, "Not Found", {"path": request.path})

    def _routes_of(self, collection: str, of_one: Mapping[str, Handler] | None = None) -> tuple[ApiRoute, ApiRoute]:
        """Return the paths of `tunnels` or `endpoints`, which show the same tunnels in two forms."""

        async def show_all(request: ApiRequest, held: Mapping[str, str]) -> ApiAnswer:
            views = [self._view(entry, collection) for entry in self._listing.entries()]
            return json_answer({collection: views, "uri": f"/api/{collection}"})

        async def create(request: ApiRequest, held: Mapping[str, str]) -> ApiAnswer:
            return self._shown(await self._add(*await self._read(request, collection)), collection, 201)

        async def show(request: ApiRequest, held: Mapping[str, str]) -> ApiAnswer:
            return json_answer(self._view(self._found(held["name"], collection), collection))

        async def delete(request: ApiRequest, held: Mapping[str, str]) -> ApiAnswer:
            self._listing.remove(self._found(held["name"], collection))
            return ApiAnswer(status=204)

        return (
            ApiRoute(f"/api/{collection}", {"GET": show_all, "POST": create}),
            ApiRoute(f"/api/{collection}/:name", {"GET": show, "DELETE": delete, **(of_one or {})}),
        )

    # The status and the inspector's address

    async def _to_inspector(self, request: ApiRequest, held: Mapping[str, str]) -> ApiAnswer:
        return ApiAnswer(status=302, fields=(("Location", "/inspect/http"),))

    async def _show_root(self, request: ApiRequest, held: Mapping[str, str]) -> ApiAnswer:
        paths = [route.path for route in self._routes if route.path.startswith("/api/") and ":" not in route.path]
        names = {path: path.removeprefix("/api/").split("/") for path in paths}
        return json_answer({f"{'_'.join(reversed(parts))}_uri": path for path, parts in names.items()})

    async def _show_status(self, request: ApiRequest, held: Mapping[str, str]) -> ApiAnswer:
        return json_answer(status_view(self._agent, self._version))

    async def _show_state(self, request: ApiRequest, held: Mapping[str, str]) -> ApiAnswer:
        return text_answer(self._agent.status.state.value)

    # Tunnels

    def _found(self, name: str, collection: str) -> Entry:
        entry = self._listing.find(name)
        if entry is None:
            raise ApiError(404, f"{collection.removesuffix('s')} not found", {"name": name}, 100)
        return entry

    def _view(self, entry: Entry, collection: str) -> dict[str, object]:
        return tunnel_view(entry, collection=collection, instance=self._agent.instance, now=time.monotonic())

    def _shown(self, tunnel: AgentTunnel, collection: str, status: int) -> ApiAnswer:
        """Return the response with the first entry of a tunnel that was just created.

        Raises ApiError if the tunnel has ended since.
        """
        entries = self._listing.entries_of(tunnel)
        if not entries:
            raise ApiError(502, "failed to start tunnel", {"err": "the tunnel has ended"}, 103)
        return json_answer(self._view(entries[0], collection), status)

    async def _read(self, request: ApiRequest, collection: str, name: str = "") -> tuple[TunnelConfig, tuple[str, ...]]:
        """Return the tunnel that a body defines, and the schemes that it asks for."""
        try:
            fields = parse_json(request.body)
        except ValueError as error:
            raise ApiError(400, "failed to deserialize request parameter", {"err": str(error)}) from None
        try:
            definition = define(fields, is_endpoint=collection == "endpoints", name=name)
            if names_path(definition.addr) and not await is_own_user(request.ends):
                raise DefinitionInvalid(f"{definition.addr}: {NOT_YOURS_TO_PUBLISH}")
            return self._build(definition), definition.schemes
        except DefinitionInvalid as error:
            raise ApiError(400, "invalid tunnel configuration", {"err": str(error)}, 102) from None

    async def _add(self, config: TunnelConfig, schemes: tuple[str, ...]) -> AgentTunnel:
        """Add a tunnel. If that fails, its name is free, so that clients can try again."""
        if self._agent.status.state is not SessionState.ONLINE:
            raise _not_ready()
        if self._listing.find(config.name) is not None:
            raise _duplicate(config.name)
        try:
            tunnel = await self._agent.add(config)
        except DuplicateName:
            raise _duplicate(config.name) from None
        except NotConnected as error:
            if self._agent.status.state is not SessionState.ONLINE:
                raise _not_ready() from None
            raise _not_started(error) from None
        except AddError as error:
            raise _not_started(error) from None
        self._listing.note(tunnel, schemes)
        return tunnel

    async def _replace(self, request: ApiRequest, held: Mapping[str, str]) -> ApiAnswer:
        """Change an endpoint, or create it. If the change fails, the old endpoint is kept or restored."""
        config, schemes = await self._read(request, "endpoints", held["name"])
        async with self._replacing:
            entry = self._listing.find(config.name)
            if entry is None:
                return self._shown(await self._add(config, schemes), "endpoints", 201)
            if self._agent.status.state is not SessionState.ONLINE:
                raise _not_ready()
            if entry.name != entry.tunnel.name:
                hint = f"it is the http address of {entry.tunnel.name}, which can be changed"
                raise ApiError(400, "invalid tunnel configuration", {"err": hint}, 102)
            before = entry.tunnel.config
            if config != before:
                kept = self._listing.schemes_of(entry.tunnel)
                self._agent.remove(config.name)
                try:
                    return self._shown(await self._add(config, schemes), "endpoints", 200)
                except BaseException:
                    with contextlib.suppress(ApiError):
                        await self._add(before, kept)
                    raise
            self._listing.note(entry.tunnel, schemes)
            return self._shown(entry.tunnel, "endpoints", 200)


def _held(pattern: str, path: str) -> dict[str, str] | None:
    """Return the values of the pattern's `:name` segments in a path; None when the path does not match."""
    wanted, given = pattern.split("/"), path.split("/")
    if len(wanted) != len(given):
        return None
    held = {}
    for one, segment in zip(wanted, given, strict=True):
        text = unquote(segment)
        if one.startswith(":") and text:
            held[one[1:]] = text
        elif one != text:
            return None
    return held


def _not_allowed(route: ApiRoute, method: str) -> ApiError:
    allowed = ", ".join(sorted(route.methods))
    return ApiError(405, "Method Not Allowed", {"allowed": allowed, "method": method}, fields=(("Allow", allowed),))


def _check_type(request: ApiRequest) -> None:
    """Accept only JSON. A web page could send a form to this API without the browser asking first."""
    given = request.fields.get("content-type", "")
    if given.partition(";")[0].strip().lower() != JSON:
        details = {"available": [JSON], "content-type": given}
        raise ApiError(415, "unsupported request Content-Type", details)


def _not_ready() -> ApiError:
    return ApiError(503, "ngrok is not yet ready to start tunnels", {"err": NOT_READY}, 104)


def _duplicate(name: str) -> ApiError:
    return ApiError(400, "invalid tunnel configuration", {"err": f'tunnel "{name}" already exists'}, 102)


def _not_started(error: AddError) -> ApiError:
    details = {"err": with_ngrok_code(error.message, error.error)} | ({"hint": error.hint} if error.hint else {})
    return ApiError(502, "failed to start tunnel", details, 103)
