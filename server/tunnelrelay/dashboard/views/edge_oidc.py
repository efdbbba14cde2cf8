"""The page of an edge's OpenID login: configure, test, change and remove it."""

from dataclasses import dataclass, field

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from tunnelctl.oidc.findings import Finding
from tunnelctl.policy.modules import MODULES
from tunnelctl.policy.named import SIGN, is_named
from tunnelctl.wire.messages import OidcSpec
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.form import Form
from tunnelrelay.dashboard.policy_form import text_of, values_of
from tunnelrelay.dashboard.request_input import UserRequest, action_route, page_route
from tunnelrelay.dashboard.views.edge import PATH, edge_of
from tunnelrelay.services.edge_settings import EdgeSecrets, with_module, without_module
from tunnelrelay.services.edge_views import EdgeView
from tunnelrelay.services.edges import Change
from tunnelrelay.services.problems import Kind, ManageError, invalid

MODULE = "oidc"
ROWS = tuple(row for row in MODULES[MODULE].rows if row.label)
"""The settings that are fields of the form, in addition to the choice of a provider."""
CARDS = tuple(dict.fromkeys(row.card for row in ROWS))
PLACES = frozenset({"provider", *(row.api_name for row in ROWS)})
"""Names of the form's fields that show their own error; other errors are listed above the form."""
EMPTY = OidcSpec(issuer="", client_id="", client_secret="")


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedLogin:
    """The content of the form of an OpenID login.

    Attributes:
        oidc: The login settings that the form means, with the client secret.
        texts: The texts of the form's fields, to show them again.
        errors: Texts that cannot be parsed: an error by field.
    """

    oidc: OidcSpec
    texts: dict[str, str]
    errors: dict[str, str] = field(default_factory=dict)


def form_of(oidc: OidcSpec | None) -> TypedLogin:
    """Return the content of the form for an edge's login; None gives the form for a new login."""
    spec = oidc or EMPTY
    texts = {row.api_name: text_of(row, getattr(spec, row.name)) for row in ROWS}
    if is_named(spec.issuer):
        return TypedLogin(oidc=spec, texts=texts | {"provider": spec.issuer, "issuer": ""})
    return TypedLogin(oidc=spec, texts=texts | {"provider": ""})


def typed_in(form: Form, kept: OidcSpec | None) -> TypedLogin:
    """Read a sent form. Settings that the form does not show stay as they are.

    Args:
        kept: The login that the form changes; None for a new one.
    """
    errors: dict[str, str] = {}
    values = values_of(ROWS, form, errors)
    texts = {name: form.text(name) for name in form_of(None).texts if name != "client_secret"}
    provider = texts["provider"]
    if provider:
        owners = {row.name for row in ROWS if not row.is_of_provider}
        values = {name: value for name, value in values.items() if name in owners} | {"issuer": provider}
        is_same = kept is not None and kept.issuer == provider
    else:
        is_same = kept is not None and not is_named(kept.issuer)
    base = kept if kept is not None and is_same else EMPTY
    return TypedLogin(oidc=msgspec.structs.replace(base, **values), texts=texts, errors=errors)


def routes(deps: Deps) -> list[Route]:
    return [
        page_route(f"{PATH}/oidc", _show),
        action_route(f"{PATH}/oidc", _save),
        action_route(f"{PATH}/oidc/test", _test),
        action_route(f"{PATH}/oidc/remove", _remove),
    ]


async def _show(request: UserRequest) -> Response:
    edge = await edge_of(request)
    return await _page(request, edge, form_of(edge.settings.policy.oidc))


async def _save(request: UserRequest) -> Response:
    edge = await edge_of(request)
    typed = typed_in(request.form, edge.settings.policy.oidc)
    try:
        if typed.errors:
            raise invalid(typed.errors)
        failed = await request.deps.services.edges.failed_test(request.actor, edge.id, typed.oidc)
        if failed is not None and request.form.text("confirmed") != failed.id:
            warning = ManageError(
                Kind.CONFLICT,
                "provider_failed",
                f"This login failed its test a moment ago: {failed.found}",
                "Nothing was saved. Put it right, or choose “Save anyway”.",
            )
            return await _page(request, edge, typed, error=warning, confirmed=failed.id, status=warning.kind.value)
        await request.deps.services.edges.set_policy(
            request.actor, edge.id, _with(typed.oidc), _secrets(typed.oidc), version=version_of(request)
        )
    except ManageError as error:
        confirmed = request.form.text("confirmed")
        return await _page(request, edge, typed, error=error, confirmed=confirmed, status=error.kind.value)
    return request.redirect(f"/edges/{edge.id}", flash="saved")


async def _test(request: UserRequest) -> Response:
    """Test the login in the form without saving it. Returns the findings; without htmx, the whole page with them."""
    edge = await edge_of(request)
    typed = typed_in(request.form, edge.settings.policy.oidc)
    edges = request.deps.services.edges
    error, findings = None, list[Finding]()
    try:
        findings = await edges.test_provider(request.actor, typed.oidc, edge.id)
    except ManageError as refused:
        error = refused
    failed = await edges.failed_test(request.actor, edge.id, typed.oidc)
    confirmed = failed.id if failed is not None else ""
    if not request.by_htmx:
        return await _page(request, edge, typed, error=error, findings=findings, confirmed=confirmed)
    return request.part("edges/tested.html", findings=findings, error=error, confirmed=confirmed, label="Save")


async def _remove(request: UserRequest) -> Response:
    edge = await edge_of(request)
    await request.deps.services.edges.set_policy(
        request.actor, edge.id, lambda settings: without_module(settings, MODULE)
    )
    return request.redirect(f"/edges/{edge.id}", flash="removed")


async def _page(
    request: UserRequest,
    edge: EdgeView,
    typed: TypedLogin,
    *,
    error: ManageError | None = None,
    findings: list[Finding] | None = None,
    confirmed: str = "",
    status: int = 200,
) -> Response:
    services = request.deps.services
    errors = {name.removeprefix("oidc."): text for name, text in error.fields.items()} if error else {}
    providers = await services.providers.page(request.actor)
    uri = await services.edges.redirect_uri(request.actor, edge.id, typed.oidc)
    return request.page(
        "edges/oidc.html",
        status=status,
        edge=edge,
        is_new=edge.settings.policy.oidc is None,
        texts=typed.texts,
        own={row.name: row for row in ROWS},
        cards={card: [row for row in ROWS if row.card == card] for card in CARDS},
        providers=[(f"{SIGN}{provider.row.name}", provider) for provider in providers],
        redirect_uri=uri,
        error=error,
        confirmed=confirmed,
        errors=errors,
        others=[text for name, text in errors.items() if name not in PLACES],
        has_hidden_error=any(row.card == "More" and row.api_name in errors for row in ROWS),
        findings=findings or [],
    )


def _with(oidc: OidcSpec) -> Change:
    bare = msgspec.structs.replace(oidc, client_secret="")
    return lambda settings: with_module(settings, MODULE, {MODULE: bare})


def _secrets(oidc: OidcSpec) -> EdgeSecrets | None:
    """Return the client secret to store; None, which keeps the stored one, when the field was left empty."""
    if is_named(oidc.issuer) or not oidc.client_secret:
        return None
    return EdgeSecrets(client_secret=oidc.client_secret)


def version_of(request: UserRequest) -> int | None:
    """Return the edge's version in the form; None without one. A save fails when the edge has another version then."""
    text = request.form.text("version")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
