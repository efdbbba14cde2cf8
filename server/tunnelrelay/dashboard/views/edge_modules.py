"""An edge's smaller modules: networks, header fields, passwords, and whether a visitor stays with one tunnel."""

from collections.abc import Awaitable, Callable

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from tunnelctl.wire.messages import HeaderEdit
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.form import Form
from tunnelrelay.dashboard.request_input import Asked, does, shows
from tunnelrelay.dashboard.views.edge import PATH, edge_of
from tunnelrelay.dashboard.views.edge_oidc import version_of
from tunnelrelay.services.edge_settings import KEPT, EdgeSecrets, EdgeSettings
from tunnelrelay.services.edge_views import EdgeView
from tunnelrelay.services.edges import Change
from tunnelrelay.services.problems import ManageError, invalid

Texts = dict[str, str]
MASK = "••••••••"
"""Stands in the form for a header's value, which is never shown; sent back, it keeps the value."""


class ModuleForm:
    """One module with a form: `key` is its place below the edge's path, `name` how the service layer calls it."""

    key: str
    name: str
    title: str

    def texts(self, edge: EdgeView) -> Texts:
        """The form's fields as they are kept."""
        raise NotImplementedError

    def change(self, form: Form) -> tuple[Change, EdgeSecrets | None]:
        """What the form asks for. Raises `ManageError` INVALID."""
        raise NotImplementedError

    def removal(self) -> tuple[Change, EdgeSecrets | None]:
        """What takes it away."""
        return self.change(Form())

    def is_set(self, edge: EdgeView) -> bool:
        """Whether there is anything to take away."""
        return any(self.texts(edge).values())


class NetworksForm(ModuleForm):
    """Where visitors may come from."""

    key, name, title = "ip-restriction", "ip_restriction", "IP restrictions"

    def texts(self, edge: EdgeView) -> Texts:
        """See `ModuleForm`."""
        policy = edge.settings.policy
        return {"cidr_allow": "\n".join(policy.cidr_allow), "cidr_deny": "\n".join(policy.cidr_deny)}

    def change(self, form: Form) -> tuple[Change, None]:
        """See `ModuleForm`."""
        allow, deny = form.words("cidr_allow"), form.words("cidr_deny")
        return policy_change(self.name, cidr_allow=allow, cidr_deny=deny), None


class HeadersForm(ModuleForm):
    """Fields that are added and removed on the way to the app, or to visitors."""

    def __init__(self, key: str, name: str, title: str) -> None:
        self.key, self.name, self.title = key, name, title

    def texts(self, edge: EdgeView) -> Texts:
        """See `ModuleForm`."""
        edit: HeaderEdit = getattr(edge.settings.policy, self.name)
        added = "\n".join(f"{name}: {MASK}" for name, _ in edit.add)
        return {"add": added, "remove": "\n".join(edit.remove)}

    def change(self, form: Form) -> tuple[Change, None]:
        """See `ModuleForm`."""
        added = tuple(_field(line) for text in form.texts("add") for line in text.splitlines() if line.strip())
        edit = HeaderEdit(add=added, remove=form.words("remove"))
        return policy_change(self.name, **{self.name: edit}), None


class Passwords(ModuleForm):
    """Basic authentication. Passwords are written only."""

    key, name, title = "basic-auth", "basic_auth", "Basic authentication"

    def texts(self, edge: EdgeView) -> Texts:
        """See `ModuleForm`."""
        return {"users": ", ".join(edge.held.users)}

    def change(self, form: Form) -> tuple[Change, EdgeSecrets]:
        """See `ModuleForm`."""
        user, password = form.text("user"), form.secret("password")
        fields = {"user": "a user name without a colon"} if not user or ":" in user else {}
        if not password:
            fields["password"] = "a password"  # noqa: S105 (a message)
        if fields:
            raise invalid(fields)
        return policy_change(self.name), EdgeSecrets(basic_auth=(f"{user}:{password}",))

    def removal(self) -> tuple[Change, EdgeSecrets]:
        """See `ModuleForm`."""
        return policy_change(self.name), EdgeSecrets(basic_auth=())


class Stickiness(ModuleForm):
    """Whether a visitor stays with one tunnel."""

    key, name, title = "stickiness", "stickiness", "Sticky visitors"

    def texts(self, edge: EdgeView) -> Texts:
        """See `ModuleForm`."""
        return {"sticky": "1" if edge.settings.sticky else ""}

    def change(self, form: Form) -> tuple[Change, None]:
        """See `ModuleForm`."""
        is_sticky = form.has("sticky")
        return lambda settings: msgspec.structs.replace(settings, sticky=is_sticky), None


IN_THE_FORM = {"ip_restriction.allow": "cidr_allow", "ip_restriction.deny": "cidr_deny"}
"""Fields of problems that the form has under another name."""
MODULES: tuple[ModuleForm, ...] = (
    NetworksForm(),
    HeadersForm("request-headers", "request_headers", "Request headers"),
    HeadersForm("response-headers", "response_headers", "Response headers"),
    Passwords(),
    Stickiness(),
)


def routes(deps: Deps) -> list[Route]:
    """See `views.AREAS`."""
    return [route for module in MODULES for route in _routes_of(module)]


def _routes_of(module: ModuleForm) -> list[Route]:
    path = f"{PATH}/{module.key}"
    return [shows(path, _showing(module)), does(path, _saving(module)), does(f"{path}/remove", _removing(module))]


def _showing(module: ModuleForm) -> Callable[[Asked], Awaitable[Response]]:
    async def show(asked: Asked) -> Response:
        edge = await edge_of(asked)
        return _page(asked, module, edge, module.texts(edge))

    return show


def _saving(module: ModuleForm) -> Callable[[Asked], Awaitable[Response]]:
    async def save(asked: Asked) -> Response:
        edge = await edge_of(asked)
        try:
            change, secrets = module.change(asked.form)
            await asked.deps.services.edges.set_policy(asked.actor, edge.id, change, secrets, version=version_of(asked))
        except ManageError as error:
            texts = {name: asked.form.text(name) for name in module.texts(edge)}
            return _page(asked, module, edge, texts, error)
        return asked.go(f"/edges/{edge.id}", said="saved")

    return save


def _removing(module: ModuleForm) -> Callable[[Asked], Awaitable[Response]]:
    async def remove(asked: Asked) -> Response:
        change, secrets = module.removal()
        await asked.deps.services.edges.set_policy(asked.actor, asked.named("id"), change, secrets)
        return asked.go(f"/edges/{asked.named('id')}", said="removed")

    return remove


def _page(asked: Asked, module: ModuleForm, edge: EdgeView, texts: Texts, error: ManageError | None = None) -> Response:
    fields = error.fields if error else {}
    errors = {IN_THE_FORM.get(name, name.removeprefix(f"{module.name}.")): text for name, text in fields.items()}
    places = {*texts, "user", "password"} if module.name == "basic_auth" else set(texts)
    return asked.page(
        "edges/module.html",
        status=error.kind.value if error else 200,
        edge=edge,
        module=module,
        is_set=module.is_set(edge),
        texts=texts,
        user=asked.form.text("user"),
        error=error,
        errors=errors,
        others=[text for name, text in errors.items() if name not in places],
    )


def policy_change(module: str, **parts: object) -> Change:
    """Sets parts of the policy, and the module on."""

    def change(settings: EdgeSettings) -> EdgeSettings:
        off = tuple(name for name in settings.disabled if name != module)
        policy = msgspec.structs.replace(settings.policy, **parts)
        return msgspec.structs.replace(settings, policy=policy, disabled=off)

    return change


def _field(line: str) -> tuple[str, str]:
    """A header field as it is written. Raises `ManageError` INVALID."""
    name, colon, value = line.partition(":")
    if not colon or not name.strip():
        # Without the line: it may be a secret.
        raise invalid({"add": "each line is a name, a colon and a value, as in X-Environment: staging"})
    return name.strip(), KEPT if value.strip() == MASK else value.strip()
