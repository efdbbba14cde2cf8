"""Changes that API requests make to an edge's one route: to its modules and to its tunnel group."""

import msgspec

from tunnelctl.wire.messages import PolicySpec
from tunnelrelay.api.auth_middleware import Call
from tunnelrelay.api.module_mapping import secrets_of, with_module_body
from tunnelrelay.api.module_schemas import Backend, ModuleBody
from tunnelrelay.services.edge_settings import EdgeSecrets, EdgeSettings
from tunnelrelay.services.edge_views import EdgeView
from tunnelrelay.services.edges import Change
from tunnelrelay.services.problems import Kind, ManageError, invalid, missing
from tunnelrelay.services.services import Services


async def route_view(services: Services, call: Call, edge_id: str, route_id: str) -> EdgeView:
    """Return the edge that has this route.

    Raises:
        ManageError: MISSING when there is no such edge, or it has no route with this id.
    """
    view = await services.edges.get(call.actor, edge_id)
    if view.settings.route is None or view.settings.route.id != route_id:
        raise missing("route")
    return view


def on_route(route_id: str, change: Change) -> Change:
    """Wrap a change of an edge's settings so that it raises `ManageError` MISSING when the edge has no such route then.

    The change is applied to the settings as they are when it is written, so two programs can change different modules
    at the same time.
    """

    def changed(settings: EdgeSettings) -> EdgeSettings:
        if settings.route is None or settings.route.id != route_id:
            raise missing("route")
        return change(settings)

    return changed


def take_modules(settings: EdgeSettings, modules: dict[str, ModuleBody], host_header: str | None) -> EdgeSettings:
    """Return the edge's settings with these modules in place of its modules of the same names.

    Args:
        host_header: The Host sent to the app; "" for the one that the visitor sent, None for no change.
    """
    for name, module in modules.items():
        settings = with_module_body(settings, name, module)
    if host_header is not None:
        policy = msgspec.structs.replace(settings.policy, host_header=host_header or None)
        settings = msgspec.structs.replace(settings, policy=policy)
    return settings


def secrets_with(modules: dict[str, ModuleBody]) -> EdgeSecrets:
    """Return the secrets in the bodies of all these modules."""
    together = EdgeSecrets()
    for name, module in modules.items():
        together = secrets_of(name, module).over(together)
    return together


def without_route(settings: EdgeSettings) -> EdgeSettings:
    """Return an edge's settings without its route and the route's modules."""
    return msgspec.structs.replace(settings, route=None, policy=PolicySpec(), disabled=(), sticky=False)


def with_backend(settings: EdgeSettings, backend: Backend) -> EdgeSettings:
    """Return an edge's settings with `enabled` and `sticky` of the backend module.

    The module's tunnel group is not part of the settings: its id is a column of the edge's row.
    """
    return msgspec.structs.replace(settings, backend_enabled=backend.enabled, sticky=backend.sticky)


async def check_group(services: Services, call: Call, edge_id: str, backend: Backend) -> None:
    """Check that the tunnel group of a backend module can serve the edge, before anything is written.

    Raises:
        ManageError: INVALID when the edge's owner has no such tunnel group.
    """
    if backend.backend_id is None:
        return
    view = await services.edges.get(call.actor, edge_id)
    try:
        group = await services.backends.get(call.actor, backend.backend_id)
    except ManageError as error:
        raise _no_group() if error.kind is Kind.MISSING else error from error
    if group.owner != view.row.owner:
        raise _no_group()


def _no_group() -> ManageError:
    return invalid({"backend.backend_id": "there is no such tunnel group"})


async def set_backend(services: Services, call: Call, view: EdgeView, backend: Backend) -> EdgeView:
    """Set which tunnels serve an edge, and whether any do. Returns the changed edge.

    The tunnel group is written before `enabled`: an edge that is enabled again must not be served by its former group.
    """
    if (backend.backend_id or "") != view.row.backend_id:
        view = await services.edges.set_backend(call.actor, view.row.id, backend.backend_id)
    if with_backend(view.settings, backend) == view.settings:
        return view
    return await services.edges.set_policy(call.actor, view.row.id, lambda settings: with_backend(settings, backend))
