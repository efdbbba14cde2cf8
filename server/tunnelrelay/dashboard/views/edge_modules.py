"""The pages of an edge's modules except the login: networks, header fields, passwords, sticky visitors and so on.

The fields of a module's form are its rows of the table of settings. A module has a form if any of its rows has a label.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from tunnelctl.policy.fields import STRUCTS, PolicyField, of_part, value_of
from tunnelctl.policy.modules import MODULES, PolicyModule
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.form import Form
from tunnelrelay.dashboard.policy_form import text_of, values_of
from tunnelrelay.dashboard.request_input import UserRequest, action_route, page_route
from tunnelrelay.dashboard.views.edge import PATH, edge_of
from tunnelrelay.dashboard.views.edge_oidc import version_of
from tunnelrelay.services.edge_settings import EdgeSecrets, with_module, without_module
from tunnelrelay.services.edge_views import EdgeView
from tunnelrelay.services.edges import Change
from tunnelrelay.services.problems import ManageError, invalid

Texts = dict[str, str]


class ModuleForm:
    """The form of a module of an edge; its fields are the module's rows of the table of settings.

    Attributes:
        key: Last part of the path of the module's page, below the edge's path.
        name: The module's name in the service layer.
        title: The module's name for people.
        rows: The settings that are fields of the form.
        places: Names of the form's fields that show their own error; other errors are listed above the form.
    """

    def __init__(self, module: PolicyModule) -> None:
        self.key, self.name, self.title = module.key, module.name, module.title
        self.rows: tuple[PolicyField, ...] = module.rows
        self.places = {row.api_name for row in self.rows}

    def texts(self, edge: EdgeView) -> Texts:
        """Return the texts of the form's fields for an edge's present settings."""
        return {row.api_name: text_of(row, value_of(edge.settings.policy, row)) for row in self.rows}

    def change(self, form: Form) -> tuple[Change, EdgeSecrets | None]:
        """Return the change of the edge's settings and secrets that a sent form means. Raises `ManageError` INVALID."""
        errors: dict[str, str] = {}
        values = values_of(self.rows, form, errors)
        if errors:
            raise invalid(errors)
        return lambda settings: with_module(settings, self.name, _parts(self.name, values)), None

    def removal(self) -> tuple[Change, EdgeSecrets | None]:
        """Return the change of the edge's settings and secrets that removes the module."""
        return lambda settings: without_module(settings, self.name), None

    def is_set(self, edge: EdgeView) -> bool:
        """Whether the edge has this module, so that it can be removed."""
        return any(self.texts(edge).values())


def _parts(module: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of `PolicySpec` that a module sets, with the values of a form that shows all of them."""
    parts: dict[str, Any] = {}
    for part in MODULES[module].parts:
        members = {row.name: values[row.name] for row in of_part(part)}
        parts[part] = STRUCTS[part](**members) if part in STRUCTS else members[part]
    return parts


class Passwords(ModuleForm):
    """The form of basic authentication: one user with a password, which is never shown."""

    def __init__(self, module: PolicyModule) -> None:
        super().__init__(module)
        self.places = {"user", "password"}

    def texts(self, edge: EdgeView) -> Texts:
        return {"users": ", ".join(edge.stored_secrets.users)}

    def change(self, form: Form) -> tuple[Change, EdgeSecrets]:
        user, password = form.text("user"), form.secret("password")
        fields = {"user": "a user name without a colon"} if not user or ":" in user else {}
        if not password:
            fields["password"] = "a password"  # noqa: S105 (a message)
        if fields:
            raise invalid(fields)
        secrets = EdgeSecrets(basic_auth=(f"{user}:{password}",))
        return lambda settings: with_module(settings, self.name, {}), secrets

    def removal(self) -> tuple[Change, EdgeSecrets]:
        return lambda settings: without_module(settings, self.name), EdgeSecrets(basic_auth=())


class Stickiness(ModuleForm):
    """The form of sticky visitors, whom a cookie keeps at one tunnel: a setting of the edge, not of its policy."""

    def __init__(self) -> None:
        super().__init__(PolicyModule("stickiness", "Sticky visitors", "", ""))
        self.places = {"sticky"}

    def texts(self, edge: EdgeView) -> Texts:
        return {"sticky": "1" if edge.settings.sticky else ""}

    def change(self, form: Form) -> tuple[Change, None]:
        is_sticky = form.has("sticky")
        return lambda settings: msgspec.structs.replace(settings, sticky=is_sticky), None

    def removal(self) -> tuple[Change, None]:
        return self.change(Form())


_SPECIAL: dict[str, type[ModuleForm]] = {"basic_auth": Passwords}
FORMS: tuple[ModuleForm, ...] = (
    *(_SPECIAL.get(name, ModuleForm)(module) for name, module in MODULES.items() if module.has_form and name != "oidc"),
    Stickiness(),
)


def routes(deps: Deps) -> list[Route]:
    return [route for module in FORMS for route in _routes_of(module)]


def _routes_of(module: ModuleForm) -> list[Route]:
    path = f"{PATH}/{module.key}"
    return [
        page_route(path, _showing(module)),
        action_route(path, _saving(module)),
        action_route(f"{path}/remove", _removing(module)),
    ]


def _showing(module: ModuleForm) -> Callable[[UserRequest], Awaitable[Response]]:
    async def show(request: UserRequest) -> Response:
        edge = await edge_of(request)
        return _page(request, module, edge, module.texts(edge))

    return show


def _saving(module: ModuleForm) -> Callable[[UserRequest], Awaitable[Response]]:
    async def save(request: UserRequest) -> Response:
        edge = await edge_of(request)
        try:
            change, secrets = module.change(request.form)
            await request.deps.services.edges.set_policy(
                request.actor, edge.id, change, secrets, version=version_of(request)
            )
        except ManageError as error:
            texts = {name: request.form.text(name) for name in module.texts(edge)}
            return _page(request, module, edge, texts, error)
        return request.redirect(f"/edges/{edge.id}", flash="saved")

    return save


def _removing(module: ModuleForm) -> Callable[[UserRequest], Awaitable[Response]]:
    async def remove(request: UserRequest) -> Response:
        change, secrets = module.removal()
        await request.deps.services.edges.set_policy(request.actor, request.path_param("id"), change, secrets)
        return request.redirect(f"/edges/{request.path_param('id')}", flash="removed")

    return remove


def _page(
    request: UserRequest, module: ModuleForm, edge: EdgeView, texts: Texts, error: ManageError | None = None
) -> Response:
    fields = error.fields if error else {}
    errors = {name.removeprefix(f"{module.name}."): text for name, text in fields.items()}
    return request.page(
        "edges/module.html",
        status=error.kind.value if error else 200,
        edge=edge,
        module=module,
        is_set=module.is_set(edge),
        texts=texts,
        user=request.form.text("user"),
        error=error,
        errors=errors,
        others=[text for name, text in errors.items() if name not in module.places],
    )
