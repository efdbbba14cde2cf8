"""The pages of named OpenID providers: an administrator creates and tests them, and owners refer to them as `@work`."""

from starlette.responses import Response
from starlette.routing import Route

from tunnelctl.oidc.findings import Finding
from tunnelctl.policy.named import SIGN
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.listing import listing
from tunnelrelay.dashboard.request_input import UserRequest, action_route, page_route
from tunnelrelay.dashboard.views import provider_form
from tunnelrelay.dashboard.views.edge_oidc import version_of
from tunnelrelay.dashboard.views.provider_form import TypedProvider
from tunnelrelay.services.edge_views import EdgeView
from tunnelrelay.services.problems import Kind, ManageError, invalid
from tunnelrelay.services.provider_tests import FailedTest
from tunnelrelay.services.providers import ProviderView
from tunnelrelay.services.service_base import check_admin

PATH = "/providers/{id}"
MAX_EDGES = 1000
"""Edges that are read to find those that use a provider."""


def routes(deps: Deps) -> list[Route]:
    return [
        page_route("/providers", _list),
        page_route("/providers/new", _new),
        action_route("/providers/new", _create),
        action_route("/providers/test", _test),
        page_route(PATH, _show),
        action_route(PATH, _save),
        action_route(f"{PATH}/test", _test),
        action_route(f"{PATH}/delete", _delete),
    ]


async def _list(request: UserRequest) -> Response:
    providers = request.deps.services.providers
    page = await listing(request, lambda before, limit: providers.page(request.actor, before=before, limit=limit))
    return request.page("providers/list.html", page=page, path="/providers", owner="")


async def _new(request: UserRequest) -> Response:
    check_admin(request.actor)
    return await _page(request, None, provider_form.shown(None))


async def _create(request: UserRequest) -> Response:
    check_admin(request.actor)
    form, typed = request.form, provider_form.typed(request.form)
    try:
        if typed.errors:
            raise invalid(typed.errors)
        if (failed := await _failed(request, typed, None)) is not None and form.text("confirmed") != failed.id:
            return await _page(request, None, typed, error=_warning(failed, "Register"), confirmed=failed.id)
        provider = await request.deps.services.providers.create(
            request.actor,
            form.text("name"),
            typed.settings,
            form.secret("client_secret"),
            owners=form.words("owners"),
            description=form.text("description"),
        )
    except ManageError as error:
        return await _page(request, None, typed, error=error, confirmed=form.text("confirmed"))
    return request.redirect(f"/providers/{provider.id}", flash="created")


async def _show(request: UserRequest) -> Response:
    provider = await _provider(request)
    return await _page(request, provider, provider_form.shown(provider))


async def _save(request: UserRequest) -> Response:
    """Change a provider by the request's form. An empty client secret keeps the stored one."""
    check_admin(request.actor)
    provider = await _provider(request)
    form, typed = request.form, provider_form.typed(request.form)
    try:
        if typed.errors:
            raise invalid(typed.errors)
        if (failed := await _failed(request, typed, provider)) is not None and form.text("confirmed") != failed.id:
            return await _page(request, provider, typed, error=_warning(failed, "Save"), confirmed=failed.id)
        await request.deps.services.providers.update(
            request.actor,
            provider.id,
            settings=typed.settings,
            client_secret=form.secret("client_secret") or None,
            owners=form.words("owners"),
            description=form.text("description"),
            version=version_of(request),
        )
    except ManageError as error:
        return await _page(request, provider, typed, error=error, confirmed=form.text("confirmed"))
    return request.redirect(f"/providers/{provider.id}", flash="saved")


async def _test(request: UserRequest) -> Response:
    """Test the provider in the form without saving it. Returns the findings; without htmx, the whole page with them."""
    check_admin(request.actor)
    provider = await _provider(request) if "id" in request.raw.path_params else None
    typed = provider_form.typed(request.form)
    error, findings = None, list[Finding]()
    try:
        if typed.errors:
            raise invalid(typed.errors)
        findings = await request.deps.services.providers.test(
            request.actor, typed.settings, request.form.secret("client_secret"), provider.id if provider else None
        )
    except ManageError as refused:
        error = refused
    failed = await _failed(request, typed, provider)
    confirmed = failed.id if failed is not None else ""
    if request.by_htmx:
        label = "Save" if provider else "Register"
        return request.part("edges/tested.html", findings=findings, error=error, confirmed=confirmed, label=label)
    return await _page(request, provider, typed, error=error, findings=findings, confirmed=confirmed)


async def _delete(request: UserRequest) -> Response:
    try:
        await request.deps.services.providers.delete(request.actor, request.path_param("id"))
    except ManageError as error:
        if error.kind is not Kind.CONFLICT:
            raise
        provider = await _provider(request)
        return await _page(request, provider, provider_form.shown(provider), error=error)
    return request.redirect("/providers", flash="deleted")


async def _failed(request: UserRequest, typed: TypedProvider, provider: ProviderView | None) -> FailedTest | None:
    """Return the last test of the form's settings when it failed a moment ago; otherwise None."""
    secret, provider_id = request.form.secret("client_secret"), provider.id if provider else None
    return await request.deps.services.providers.failed_test(request.actor, typed.settings, secret, provider_id)


def _warning(failed: FailedTest, label: str) -> ManageError:
    return ManageError(
        Kind.CONFLICT,
        "provider_failed",
        f"This provider failed its test a moment ago: {failed.found}",
        f"Nothing was saved. Put it right, or choose “{label} anyway”.",
    )


async def _provider(request: UserRequest) -> ProviderView:
    """Return the provider that the request's path names. Raises `ManageError` MISSING when there is none."""
    return await request.deps.services.providers.get(request.actor, request.path_param("id"))


async def _page(
    request: UserRequest,
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
    return request.page(
        "providers/one.html" if provider else "providers/new.html",
        status=error.kind.value if error else 200,
        provider=provider,
        edges=await _edges_with(request, provider) if provider else [],
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


async def _edges_with(request: UserRequest, provider: ProviderView) -> list[EdgeView]:
    """Return the edges that use a provider, of those that the user may see."""
    edges = await request.deps.services.edges.page(request.actor, limit=MAX_EDGES)
    name = SIGN + provider.row.name
    return [edge for edge in edges if edge.settings.policy.oidc and edge.settings.policy.oidc.issuer == name]
