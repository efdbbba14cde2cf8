"""The API's `/edges/https/{edge_id}/routes`: an edge's one route, which holds the edge's modules."""

import time
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter
from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from tunnelrelay.api.auth_middleware import Call
from tunnelrelay.api.edge_changes import (
    check_group,
    on_route,
    route_view,
    secrets_with,
    set_backend,
    take_modules,
    without_route,
)
from tunnelrelay.api.edge_schemas import FOREIGN, PATH, EdgeRoute, route_of
from tunnelrelay.api.module_mapping import secrets_without
from tunnelrelay.api.module_schemas import BODIES, Backend, ModuleBody, with_fields
from tunnelrelay.api.values import Calling, Description, Id, Line, Metadata, NotOffered, RequestBody, needs
from tunnelrelay.ids import new_id
from tunnelrelay.services.edge_settings import EdgeSettings, RouteSettings
from tunnelrelay.services.edge_views import EdgeView
from tunnelrelay.services.edges import Change
from tunnelrelay.services.problems import Kind, ManageError
from tunnelrelay.services.services import Services

ROUTES = f"/{PATH}/{{edge_id}}/routes"


def _only(*allowed: str) -> BeforeValidator:
    def check(value: Any) -> Any:
        if isinstance(value, str) and value not in allowed:
            raise PydanticCustomError("not_supported", "this relay's edges have one route: the path prefix /")
        return value

    return BeforeValidator(check)


MatchType = Annotated[str, _only("path_prefix"), Field(json_schema_extra={"enum": ["path_prefix"]})]
Match = Annotated[str, _only("/"), Field(json_schema_extra={"enum": ["/"]})]
MaybeMatchType = Annotated[str, _only("path_prefix", ""), Field(json_schema_extra={"enum": ["path_prefix", ""]})]
MaybeMatch = Annotated[str, _only("/", ""), Field(json_schema_extra={"enum": ["/", ""]})]


with_modules = with_fields(
    {name: (model | None, None) for name, model in BODIES.items()}
    | {name: (Annotated[None, NotOffered(what)], None) for name, what in FOREIGN.items()}
)
"""Class decorator: gives the model of a request a field for every module, and fields that must stay null for the
modules that only ngrok has."""


class Modules(RequestBody):
    """The modules of an edge's route in one request; absent modules and null stay as they are."""

    description: Description = ""
    metadata: Metadata = ""
    backend: Backend | None = None
    host_header: Line | None = None
    """The `Host` field sent to the app; empty for the one that the visitor sent."""

    def modules(self) -> dict[str, ModuleBody]:
        """Return the modules that the request contains, by name."""
        given = {name: getattr(self, name) for name in BODIES}
        return {name: module for name, module in given.items() if module is not None}


@with_modules
class NewRoute(Modules):
    """An edge's route to create."""

    match_type: MatchType
    """How `match` is compared with a request's path: always as a prefix."""
    match: Match
    """The prefix of the paths that the route is for: always `/`, which is every path."""


@with_modules
class RouteChange(Modules):
    """A change of an edge's route. Absent fields, null, and an empty match stay as they are."""

    match_type: MaybeMatchType = ""
    """How `match` is compared with a request's path: always as a prefix."""
    match: MaybeMatch = ""
    """The prefix of the paths that the route is for: always `/`, which is every path."""


def routes(services: Services, clock: Callable[[], float] = time.time) -> APIRouter:
    """Return the routes of an edge's route, `/edges/https/{edge_id}/routes`."""
    router = APIRouter(tags=["https_edge_routes"])

    @router.post(ROUTES, status_code=201, **needs("edges:write"))
    async def create_https_edge_route(call: Calling, edge_id: Id, body: NewRoute) -> EdgeRoute:
        """Creates the edge's route with all of its modules at once, so that it is never open without them."""
        now = clock()
        route = RouteSettings(
            id=new_id("route", now), created_at=now, description=body.description, metadata=body.metadata
        )

        def made(settings: EdgeSettings) -> EdgeSettings:
            if settings.route is not None:
                message = "This edge has its one route already."
                raise ManageError(Kind.CONFLICT, "route_exists", message, "Change that one.")
            return take_modules(msgspec.structs.replace(settings, route=route), body.modules(), body.host_header)

        return await _changed(services, call, edge_id, body, made)

    @router.get(f"{ROUTES}/{{id}}", **needs("edges:read"))
    async def get_https_edge_route(call: Calling, edge_id: Id, id: Id) -> EdgeRoute:
        """An edge's route with its modules."""
        return _view(call, await route_view(services, call, edge_id, id))

    @router.patch(f"{ROUTES}/{{id}}", **needs("edges:write"))
    async def update_https_edge_route(call: Calling, edge_id: Id, id: Id, body: RouteChange) -> EdgeRoute:
        """Changes the fields that are given; a module that is given replaces the former one."""
        texts = body.model_dump(exclude_unset=True, include={"description", "metadata"})

        def changed(settings: EdgeSettings) -> EdgeSettings:
            assert settings.route is not None  # `on_route` has checked this
            route = msgspec.structs.replace(settings.route, **texts)
            return take_modules(msgspec.structs.replace(settings, route=route), body.modules(), body.host_header)

        return await _changed(services, call, edge_id, body, on_route(id, changed))

    @router.delete(f"{ROUTES}/{{id}}", status_code=204, **needs("edges:write"))
    async def delete_https_edge_route(call: Calling, edge_id: Id, id: Id) -> None:
        """Deletes the edge's route and its modules. Without a route the edge is not served."""
        change = on_route(id, without_route)
        await services.edges.set_policy(call.actor, edge_id, change, secrets_without("basic_auth"))

    return router


async def _changed(services: Services, call: Call, edge_id: str, body: Modules, change: Change) -> EdgeRoute:
    """Write an edge's route and modules, then its backend, so that no visitor is served before the modules' rules hold.

    Returns:
        The changed route, for the response.
    """
    if body.backend is not None:
        await check_group(services, call, edge_id, body.backend)
    view = await services.edges.set_policy(call.actor, edge_id, change, secrets_with(body.modules()))
    if body.backend is not None:
        view = await set_backend(services, call, view, body.backend)
    return _view(call, view)


def _view(call: Call, view: EdgeView) -> EdgeRoute:
    route = route_of(call.links, view)
    assert route is not None  # the caller has checked this
    return route
