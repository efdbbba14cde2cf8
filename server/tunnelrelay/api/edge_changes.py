"""Changes of an edge's one route by API requests: its modules and its tunnel group."""

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
    """The edge, when this is its route.

    Raises:
        ManageError: MISSING.
    """
    view = await services.edges.get(call.actor, edge_id)
    if view.settings.route is None or view.settings.route.id != route_id:
        raise missing("route")
    return view


def on_route(route_id: str, change: Change) -> Change:
    """A change of the edge's current settings that fails when the edge has another route by then.

    Two programs can thus change different modules at the same time. The change raises `ManageError` MISSING.
    """

    def changed(settings: EdgeSettings) -> EdgeSettings:
        if settings.route is None or settings.route.id != route_id:
            raise missing("route")
        return change(settings)

    return changed


def take_modules(settings: EdgeSettings, modules: dict[str, ModuleBody], host_header: str | None) -> EdgeSettings:
    """The settings with these modules in place of the former ones.

    Args:
        host_header: "" for the visitor's; None leaves it.
    """
    for name, module in modules.items():
        settings = with_module_body(settings, name, module)
    if host_header is not None:
        policy = msgspec.structs.replace(settings.policy, host_header=host_header or None)
        settings = msgspec.structs.replace(settings, policy=policy)
    return settings


def secrets_with(modules: dict[str, ModuleBody]) -> EdgeSecrets:
    """All secrets that come with modules."""
    together = EdgeSecrets()
    for name, module in modules.items():
        together = secrets_of(name, module).over(together)
    return together


def without_route(settings: EdgeSettings) -> EdgeSettings:
    """The settings without the route and its modules."""
    return msgspec.structs.replace(settings, route=None, policy=PolicySpec(), disabled=(), sticky=False)


def with_backend(settings: EdgeSettings, backend: Backend) -> EdgeSettings:
    """The settings with those of the backend module. The group's id is a column of its own."""
    return msgspec.structs.replace(settings, backend_enabled=backend.enabled, sticky=backend.sticky)


async def check_group(services: Services, call: Call, edge_id: str, backend: Backend) -> None:
    """Check that the edge can be served by this tunnel group, before anything is written.

    Raises:
        ManageError: INVALID when there is no such one of the edge's owner.
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
    """Set who serves an edge.

    The group is written first, so that an edge that is enabled again is never served by its former group.
    """
    if (backend.backend_id or "") != view.row.backend_id:
        view = await services.edges.set_backend(call.actor, view.row.id, backend.backend_id)
    if with_backend(view.settings, backend) == view.settings:
        return view
    return await services.edges.set_policy(call.actor, view.row.id, lambda settings: with_backend(settings, backend))
