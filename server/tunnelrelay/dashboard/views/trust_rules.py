"""The pages of trust rules, by which CI jobs connect as agents with their own ID tokens: list, create, change, delete.

Members see only the rules of their owner, and no forms.
"""

from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.request_input import UserRequest
from tunnelrelay.dashboard.resource_pages import Context, ResourcePages
from tunnelrelay.services.problems import invalid
from tunnelrelay.services.trust_rules import own_audience
from tunnelrelay.store.resources import TrustRuleRow


def routes(deps: Deps) -> list[Route]:
    return PAGES.routes()


def _texts(row: TrustRuleRow | None) -> dict[str, str]:
    if row is None:
        return {"description": "", "issuer": "", "audience": "", "claims": "", "acl": "", "owner": ""}
    return {
        "description": row.description,
        "issuer": row.issuer,
        "audience": row.audience,
        "claims": "\n".join(f"{name}={value}" for name, value in row.claims),
        "acl": "\n".join(row.acl),
    }


def _typed(request: UserRequest) -> dict[str, Any]:
    """Read the fields that the forms for new and for existing rules share. Raises `ManageError` INVALID."""
    form = request.form
    claims: dict[str, str] = {}
    for line in form.text("claims").splitlines():
        name, is_pair, value = (part.strip() for part in line.partition("="))
        if not line.strip():
            continue
        if not is_pair or not name or not value or name in claims:
            raise invalid({"claims": f"{line.strip()[:80]!r}: write each claim once, as NAME=VALUE, one a line"})
        claims[name] = value
    texts = {name: form.text(name) for name in ("description", "issuer", "audience")}
    return {**texts, "claims": claims, "acl": form.words("acl")}


async def _create(request: UserRequest) -> TrustRuleRow:
    typed = _typed(request)
    return await request.deps.services.trust_rules.create(
        request.actor, owner=request.form.text("owner") or None, **typed
    )


async def _made(request: UserRequest, row: TrustRuleRow) -> Response:
    return request.redirect(f"/trust-rules/{row.id}", flash="created")


async def _update(request: UserRequest) -> TrustRuleRow:
    rules = request.deps.services.trust_rules
    return await rules.update(request.actor, request.path_param("id"), **_typed(request))


async def _of_list(request: UserRequest, rows: list[TrustRuleRow]) -> Context:
    rules = request.deps.services.trust_rules.configured
    return {"configured": [rule for rule in rules if request.actor.owns(rule.owner)]}


async def _of_form(request: UserRequest, row: TrustRuleRow | None = None) -> Context:
    return {"own_audience": own_audience(request.deps.address)}


PAGES = ResourcePages(
    path="/trust-rules",
    folder="trust_rules",
    service=lambda services: services.trust_rules,
    texts=_texts,
    create=_create,
    made=_made,
    update=_update,
    admin_only=True,
    list_context=_of_list,
    new_context=_of_form,
    one_context=_of_form,
)
