"""An edge's OpenID login: set up, tried out, changed and taken away."""

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from tunnelctl.oidc.findings import Finding
from tunnelctl.policy.named import SIGN, is_named
from tunnelctl.wire.messages import OidcSpec
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.request_input import Asked, does, shows
from tunnelrelay.dashboard.views import oidc_form
from tunnelrelay.dashboard.views.edge import PATH, edge_of
from tunnelrelay.dashboard.views.oidc_form import TypedLogin
from tunnelrelay.services.edge_settings import EdgeSecrets, EdgeSettings
from tunnelrelay.services.edge_views import EdgeView
from tunnelrelay.services.edges import Change
from tunnelrelay.services.problems import Kind, ManageError, invalid

MODULE = "oidc"


def routes(deps: Deps) -> list[Route]:
    """See `views.AREAS`."""
    return [
        shows(f"{PATH}/oidc", _show),
        does(f"{PATH}/oidc", _save),
        does(f"{PATH}/oidc/test", _test),
        does(f"{PATH}/oidc/remove", _remove),
    ]


async def _show(asked: Asked) -> Response:
    edge = await edge_of(asked)
    kept = edge.settings.policy.oidc
    return await _page(asked, edge, TypedLogin(oidc=kept or oidc_form.EMPTY, texts=oidc_form.shown(kept)))


async def _save(asked: Asked) -> Response:
    edge = await edge_of(asked)
    typed = oidc_form.typed(asked.form, edge.settings.policy.oidc)
    try:
        if typed.errors:
            raise invalid(typed.errors)
        failed = await asked.deps.services.edges.failed_test(asked.actor, edge.id, typed.oidc)
        if failed is not None and asked.form.text("confirmed") != failed.id:
            warning = ManageError(
                Kind.CONFLICT,
                "provider_failed",
                f"This login failed its test a moment ago: {failed.found}",
                "Nothing was saved. Put it right, or choose “Save anyway”.",
            )
            return await _page(asked, edge, typed, error=warning, confirmed=failed.id, status=warning.kind.value)
        await asked.deps.services.edges.set_policy(
            asked.actor, edge.id, _with(typed.oidc), _secrets(typed.oidc), version=version_of(asked)
        )
    except ManageError as error:
        confirmed = asked.form.text("confirmed")
        return await _page(asked, edge, typed, error=error, confirmed=confirmed, status=error.kind.value)
    return asked.go(f"/edges/{edge.id}", said="saved")


async def _test(asked: Asked) -> Response:
    """What would become of a login; nothing is saved. Without a script the whole form comes back with it."""
    edge = await edge_of(asked)
    typed = oidc_form.typed(asked.form, edge.settings.policy.oidc)
    edges = asked.deps.services.edges
    error, findings = None, list[Finding]()
    try:
        findings = await edges.test_provider(asked.actor, typed.oidc, edge.id)
    except ManageError as refused:
        error = refused
    failed = await edges.failed_test(asked.actor, edge.id, typed.oidc)
    confirmed = failed.id if failed is not None else ""
    if not asked.by_htmx:
        return await _page(asked, edge, typed, error=error, findings=findings, confirmed=confirmed)
    return asked.part("edges/tested.html", findings=findings, error=error, confirmed=confirmed, label="Save")


async def _remove(asked: Asked) -> Response:
    edge = await edge_of(asked)

    def without(settings: EdgeSettings) -> EdgeSettings:
        policy = msgspec.structs.replace(settings.policy, oidc=None)
        return msgspec.structs.replace(settings, policy=policy, disabled=_not_off(settings))

    await asked.deps.services.edges.set_policy(asked.actor, edge.id, without)
    return asked.go(f"/edges/{edge.id}", said="removed")


async def _page(
    asked: Asked,
    edge: EdgeView,
    typed: TypedLogin,
    *,
    error: ManageError | None = None,
    findings: list[Finding] | None = None,
    confirmed: str = "",
    status: int = 200,
) -> Response:
    services = asked.deps.services
    errors = {name.removeprefix("oidc."): text for name, text in error.fields.items()} if error else {}
    providers = await services.providers.page(asked.actor)
    uri = await services.edges.redirect_uri(asked.actor, edge.id, typed.oidc)
    return asked.page(
        "edges/oidc.html",
        status=status,
        edge=edge,
        is_new=edge.settings.policy.oidc is None,
        texts=typed.texts,
        providers=[(f"{SIGN}{provider.row.name}", provider) for provider in providers],
        redirect_uri=uri,
        error=error,
        confirmed=confirmed,
        errors=errors,
        others=[text for name, text in errors.items() if name not in oidc_form.SHOWN],
        has_hidden_error=not oidc_form.FOLDED.isdisjoint(errors),
        findings=findings or [],
    )


def _with(oidc: OidcSpec) -> Change:
    bare = msgspec.structs.replace(oidc, client_secret="")

    def change(settings: EdgeSettings) -> EdgeSettings:
        policy = msgspec.structs.replace(settings.policy, oidc=bare)
        return msgspec.structs.replace(settings, policy=policy, disabled=_not_off(settings))

    return change


def _secrets(oidc: OidcSpec) -> EdgeSecrets | None:
    """A field that is left empty keeps the secret there is."""
    if is_named(oidc.issuer) or not oidc.client_secret:
        return None
    return EdgeSecrets(client_secret=oidc.client_secret)


def _not_off(settings: EdgeSettings) -> tuple[str, ...]:
    """A user who saves a module wants it on."""
    return tuple(module for module in settings.disabled if module != MODULE)


def version_of(asked: Asked) -> int | None:
    """The version the form was made of; a change that came meanwhile is not overwritten unseen."""
    text = asked.form.text("version")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
