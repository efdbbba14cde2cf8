"""The API's `/edges/https/{edge_id}/routes/{id}/…`: replaces, reads and deletes single modules of an edge's route."""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter

from tunnelctl.policy.modules import MODULES
from tunnelrelay.api import edge_schemas, edges
from tunnelrelay.api.edge_changes import on_route, route_view, secrets_with, set_backend, take_modules
from tunnelrelay.api.edge_routes import ROUTES
from tunnelrelay.api.edge_schemas import backend_of
from tunnelrelay.api.module_mapping import secrets_without, view_of_module
from tunnelrelay.api.module_schemas import BODIES, VIEWS, Backend, BackendView, ModuleBody, ModuleView
from tunnelrelay.api.values import Calling, Id, needs
from tunnelrelay.services.edge_settings import without_module
from tunnelrelay.services.problems import Kind, ManageError, missing
from tunnelrelay.services.services import Services


def routes(services: Services) -> APIRouter:
    """Return the routes of the single modules of an edge's route."""
    router = APIRouter(tags=["https_edge_route_modules"])
    for name in MODULES:
        _add(router, services, name)
    _add_backend(router, services)
    for name, what in edge_schemas.FOREIGN.items():
        router.put(f"{ROUTES}/{{id}}/{name}", include_in_schema=False)(_refusal(what))
    for name, what in edges.FOREIGN.items():
        router.put(f"/{edge_schemas.PATH}/{{id}}/{name}", include_in_schema=False)(_refusal(what))
    return router


def _refusal(what: str) -> Callable[[], Awaitable[None]]:
    """Return a handler that refuses a module which only ngrok has, with the reason instead of a 404."""

    async def refuse() -> None:
        raise ManageError(Kind.INVALID, "not_supported", f"This relay does not have {what}.")

    return refuse


def _add(router: APIRouter, services: Services, name: str) -> None:
    path = f"{ROUTES}/{{id}}/{name}"
    title, shape = name.replace("_", " "), VIEWS[name]

    async def replace(call: Calling, edge_id: Id, id: Id, body: ModuleBody) -> ModuleView:
        modules = {name: body}
        change = on_route(id, lambda settings: take_modules(settings, modules, None))
        changed = await services.edges.set_policy(call.actor, edge_id, change, secrets_with(modules))
        # An empty module is stored as none; the response repeats the request.
        return view_of_module(changed.settings, changed.stored_secrets, name) or shape.model_validate(body.model_dump())

    async def get(call: Calling, edge_id: Id, id: Id) -> ModuleView:
        view = await route_view(services, call, edge_id, id)
        found = view_of_module(view.settings, view.stored_secrets, name)
        if found is None:
            raise missing(f"{title} module")
        return found

    async def delete(call: Calling, edge_id: Id, id: Id) -> None:
        change = on_route(id, lambda settings: without_module(settings, name))
        await services.edges.set_policy(call.actor, edge_id, change, secrets_without(name))

    replace.__annotations__["body"] = BODIES[name]
    router.add_api_route(
        path,
        replace,
        methods=["PUT"],
        name=f"replace_https_edge_route_{name}",
        description=f"Replaces the {title} module, from the next request on.",
        response_model=shape,
        **needs("edges:write"),
    )
    router.add_api_route(
        path,
        get,
        methods=["GET"],
        name=f"get_https_edge_route_{name}",
        description=f"The {title} module; 404 without one.",
        response_model=shape,
        **needs("edges:read"),
    )
    router.add_api_route(
        path,
        delete,
        methods=["DELETE"],
        name=f"delete_https_edge_route_{name}",
        description=f"Takes the {title} module away, from the next request on.",
        status_code=204,
        **needs("edges:write"),
    )


def _add_backend(router: APIRouter, services: Services) -> None:
    path = f"{ROUTES}/{{id}}/backend"

    @router.put(path, **needs("edges:write"))
    async def replace_https_edge_route_backend(call: Calling, edge_id: Id, id: Id, body: Backend) -> BackendView:
        """Sets which tunnels serve the edge, from the next request on."""
        view = await route_view(services, call, edge_id, id)
        return backend_of(call.links, await set_backend(services, call, view, body))

    @router.get(path, **needs("edges:read"))
    async def get_https_edge_route_backend(call: Calling, edge_id: Id, id: Id) -> BackendView:
        """Which tunnels serve the edge."""
        return backend_of(call.links, await route_view(services, call, edge_id, id))

    @router.delete(path, status_code=204, **needs("edges:write"))
    async def delete_https_edge_route_backend(call: Calling, edge_id: Id, id: Id) -> None:
        """Removes the tunnel group: the edge is served by the tunnels that join it by its name or id again."""
        view = await route_view(services, call, edge_id, id)
        await set_backend(services, call, view, Backend())
