"""`/edges/https/{edge_id}/routes`: an edge's one route, which holds its modules."""

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
"""Gives a model of a request all modules, and those of ngrok's that must stay null."""


class Modules(RequestBody):
    """The modules of a route in one request; absent or null ones stay as they are."""

    description: Description = ""
    metadata: Metadata = ""
    backend: Backend | None = None
    host_header: Line | None = None
    """The Host that the app is sent; empty for the visitor's."""

    def modules(self) -> dict[str, ModuleBody]:
        """The modules in the request, by name."""
        given = {name: getattr(self, name) for name in BODIES}
        return {name: module for name, module in given.items() if module is not None}


@with_modules
class NewRoute(Modules):
    """The route to make."""

    match_type: MatchType
    """How `match` is meant."""
    match: Match
    """Which paths it is for."""


@with_modules
class RouteChange(Modules):
    """A change of the route. What is absent, null or an empty match stays as it is."""

    match_type: MaybeMatchType = ""
    """How `match` is meant."""
    match: MaybeMatch = ""
    """Which paths it is for."""


def routes(services: Services, clock: Callable[[], float] = time.time) -> APIRouter:
    """The routes of this resource."""
    router = APIRouter(tags=["https_edge_routes"])

    @router.post(ROUTES, status_code=201, **needs("edges:write"))
    async def create_https_edge_route(call: Calling, edge_id: Id, body: NewRoute) -> EdgeRoute:
        """Makes the route, with all of its modules at once: it is never more open than they say."""
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
        """The route with its modules."""
        return _view(call, await route_view(services, call, edge_id, id))

    @router.patch(f"{ROUTES}/{{id}}", **needs("edges:write"))
    async def update_https_edge_route(call: Calling, edge_id: Id, id: Id, body: RouteChange) -> EdgeRoute:
        """Changes what is given; a module that is given takes the place of the one there was."""
        texts = body.model_dump(exclude_unset=True, include={"description", "metadata"})

        def changed(settings: EdgeSettings) -> EdgeSettings:
            assert settings.route is not None  # `on_route` has looked
            route = msgspec.structs.replace(settings.route, **texts)
            return take_modules(msgspec.structs.replace(settings, route=route), body.modules(), body.host_header)

        return await _changed(services, call, edge_id, body, on_route(id, changed))

    @router.delete(f"{ROUTES}/{{id}}", status_code=204, **needs("edges:write"))
    async def delete_https_edge_route(call: Calling, edge_id: Id, id: Id) -> None:
        """Deletes the route and its modules. The edge is not served then."""
        change = on_route(id, without_route)
        await services.edges.set_policy(call.actor, edge_id, change, secrets_without("basic_auth"))

    return router


async def _changed(services: Services, call: Call, edge_id: str, body: Modules, change: Change) -> EdgeRoute:
    """Write the route and its modules first, then who serves it, so that no visitor is served before the rules hold."""
    if body.backend is not None:
        await check_group(services, call, edge_id, body.backend)
    view = await services.edges.set_policy(call.actor, edge_id, change, secrets_with(body.modules()))
    if body.backend is not None:
        view = await set_backend(services, call, view, body.backend)
    return _view(call, view)


def _view(call: Call, view: EdgeView) -> EdgeRoute:
    route = route_of(call.links, view)
    assert route is not None  # the caller has looked
    return route
