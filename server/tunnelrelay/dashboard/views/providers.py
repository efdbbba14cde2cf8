"""Named providers: registered once by an administrator, tried out, and named by owners as `@work`."""

from starlette.responses import Response
from starlette.routing import Route

from tunnelctl.oidc.findings import Finding
from tunnelctl.policy.named import SIGN
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.listing import listing
from tunnelrelay.dashboard.request_input import Asked, does, shows
from tunnelrelay.dashboard.resource_pages import for_admins
from tunnelrelay.dashboard.views import provider_form
from tunnelrelay.dashboard.views.edge_oidc import version_of
from tunnelrelay.dashboard.views.provider_form import TypedProvider
from tunnelrelay.services.edge_views import EdgeView
from tunnelrelay.services.problems import Kind, ManageError, invalid
from tunnelrelay.services.provider_tests import FailedTest
from tunnelrelay.services.providers import ProviderView

PATH = "/providers/{id}"
MAX_EDGES = 1000
"""Edges looked through for those that name a provider."""


def routes(deps: Deps) -> list[Route]:
    """See `views.AREAS`."""
    return [
        shows("/providers", _list),
        shows("/providers/new", _new),
        does("/providers/new", _create),
        does("/providers/test", _test),
        shows(PATH, _show),
        does(PATH, _save),
        does(f"{PATH}/test", _test),
        does(f"{PATH}/delete", _delete),
    ]


async def _list(asked: Asked) -> Response:
    providers = asked.deps.services.providers
    page = await listing(asked, lambda before, limit: providers.page(asked.actor, before=before, limit=limit))
    return asked.page("providers/list.html", page=page, path="/providers", owner="")


async def _new(asked: Asked) -> Response:
    for_admins(asked)
    return await _page(asked, None, provider_form.shown(None))


async def _create(asked: Asked) -> Response:
    for_admins(asked)
    form, typed = asked.form, provider_form.typed(asked.form)
    try:
        if typed.errors:
            raise invalid(typed.errors)
        if (failed := await _failed(asked, typed, None)) is not None and form.text("confirmed") != failed.id:
            return await _page(asked, None, typed, error=_warning(failed, "Register"), confirmed=failed.id)
        provider = await asked.deps.services.providers.create(
            asked.actor,
            form.text("name"),
            typed.settings,
            form.secret("client_secret"),
            owners=form.words("owners"),
            description=form.text("description"),
        )
    except ManageError as error:
        return await _page(asked, None, typed, error=error, confirmed=form.text("confirmed"))
    return asked.go(f"/providers/{provider.id}", said="created")


async def _show(asked: Asked) -> Response:
    provider = await _provider(asked)
    return await _page(asked, provider, provider_form.shown(provider))


async def _save(asked: Asked) -> Response:
    """A secret that is left empty keeps the one there is."""
    for_admins(asked)
    provider = await _provider(asked)
    form, typed = asked.form, provider_form.typed(asked.form)
    try:
        if typed.errors:
            raise invalid(typed.errors)
        if (failed := await _failed(asked, typed, provider)) is not None and form.text("confirmed") != failed.id:
            return await _page(asked, provider, typed, error=_warning(failed, "Save"), confirmed=failed.id)
        await asked.deps.services.providers.update(
            asked.actor,
            provider.id,
            settings=typed.settings,
            client_secret=form.secret("client_secret") or None,
            owners=form.words("owners"),
            description=form.text("description"),
            version=version_of(asked),
        )
    except ManageError as error:
        return await _page(asked, provider, typed, error=error, confirmed=form.text("confirmed"))
    return asked.go(f"/providers/{provider.id}", said="saved")


async def _test(asked: Asked) -> Response:
    """What would become of a login; nothing is saved. Without a script the whole form comes back with it."""
    for_admins(asked)
    provider = await _provider(asked) if "id" in asked.request.path_params else None
    typed = provider_form.typed(asked.form)
    error, findings = None, list[Finding]()
    try:
        if typed.errors:
            raise invalid(typed.errors)
        findings = await asked.deps.services.providers.test(
            asked.actor, typed.settings, asked.form.secret("client_secret"), provider.id if provider else None
        )
    except ManageError as refused:
        error = refused
    failed = await _failed(asked, typed, provider)
    confirmed = failed.id if failed is not None else ""
    if asked.by_htmx:
        label = "Save" if provider else "Register"
        return asked.part("edges/tested.html", findings=findings, error=error, confirmed=confirmed, label=label)
    return await _page(asked, provider, typed, error=error, findings=findings, confirmed=confirmed)


async def _delete(asked: Asked) -> Response:
    try:
        await asked.deps.services.providers.delete(asked.actor, asked.named("id"))
    except ManageError as error:
        if error.kind is not Kind.CONFLICT:
            raise
        provider = await _provider(asked)
        return await _page(asked, provider, provider_form.shown(provider), error=error)
    return asked.go("/providers", said="deleted")


async def _failed(asked: Asked, typed: TypedProvider, provider: ProviderView | None) -> FailedTest | None:
    """The last test of what the form says, when it failed a moment ago."""
    secret, provider_id = asked.form.secret("client_secret"), provider.id if provider else None
    return await asked.deps.services.providers.failed_test(asked.actor, typed.settings, secret, provider_id)


def _warning(failed: FailedTest, label: str) -> ManageError:
    return ManageError(
        Kind.CONFLICT,
        "provider_failed",
        f"This provider failed its test a moment ago: {failed.found}",
        f"Nothing was saved. Put it right, or choose “{label} anyway”.",
    )


async def _provider(asked: Asked) -> ProviderView:
    """The provider that the path names. Raises `ManageError` MISSING."""
    return await asked.deps.services.providers.get(asked.actor, asked.named("id"))


async def _page(
    asked: Asked,
    provider: ProviderView | None,
    typed: TypedProvider,
    *,
    error: ManageError | None = None,
    findings: list[Finding] | None = None,
    confirmed: str = "",
) -> Response:
    errors = dict(error.fields) if error else {}
    if error is not None and error.code == "name_taken":
        errors["name"] = error.message
    return asked.page(
        "providers/one.html" if provider else "providers/new.html",
        status=error.kind.value if error else 200,
        provider=provider,
        edges=await _edges_with(asked, provider) if provider else [],
        texts=typed.texts,
        rows={row.name: row for row in provider_form.ROWS},
        error=error,
        confirmed=confirmed,
        errors=errors,
        others=[text for name, text in errors.items() if name not in provider_form.SHOWN],
        has_hidden_error=not provider_form.FOLDED.isdisjoint(errors),
        findings=findings or [],
        has_secret=provider is not None and provider.has_secret,
    )


async def _edges_with(asked: Asked, provider: ProviderView) -> list[EdgeView]:
    """The edges that name it: those that the actor may know of."""
    edges = await asked.deps.services.edges.page(asked.actor, limit=MAX_EDGES)
    name = SIGN + provider.row.name
    return [edge for edge in edges if edge.settings.policy.oidc and edge.settings.policy.oidc.issuer == name]
