"""The API's `/trust_rules`: rules about which CI jobs may connect as agents with their own ID tokens."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from tunnelrelay.api.auth_middleware import Call
from tunnelrelay.api.links import Links
from tunnelrelay.api.resource import ResourceRoutes, answer
from tunnelrelay.api.values import (
    MAX_LIST,
    Description,
    Filled,
    Metadata,
    Owner,
    RequestBody,
    ResponseBody,
    Time,
)
from tunnelrelay.policy.trust import MAX_CLAIMS
from tunnelrelay.services.services import Services
from tunnelrelay.store.resources import TrustRuleRow

PATH = "trust_rules"
Claims = Annotated[dict[Filled, Filled], Field(min_length=1, max_length=MAX_CLAIMS)]
Binds = Annotated[list[Filled], Field(min_length=1, max_length=MAX_LIST)]


class TrustRule(ResponseBody):
    """A rule that lets CI jobs connect as agents when their ID token matches."""

    id: str
    uri: str
    created_at: Time
    description: str
    metadata: str
    issuer: str
    """The issuer that signs the jobs' ID tokens."""
    audience: str
    """The audience that a job's ID token must have."""
    claims: dict[str, str]
    """Claims that a job's ID token must have, with exactly these values."""
    acl: list[str]
    """What the job's agent may bind: `bind:pr-*`, `bind:edge=edghts_…`; `*` for everything that the owner may."""
    owner: str
    """The owner of the tunnels that the jobs' agents open."""


class TrustRuleList(ResponseBody):
    """A page of trust rules, the newest first."""

    trust_rules: list[TrustRule]
    uri: str
    next_page_uri: str | None


class _RuleTexts(RequestBody):
    description: Description = ""
    metadata: Metadata = ""
    audience: Annotated[str, Field(max_length=1024)] = ""
    """The audience that a job's ID token must have; empty for this relay's address."""


class NewTrustRule(_RuleTexts, use_attribute_docstrings=True):
    """A trust rule to create."""

    issuer: Filled
    """The issuer of the jobs' ID tokens: `https://token.actions.githubusercontent.com`, `https://gitlab.com`."""
    claims: Claims
    """Claims that a job's ID token must have, with exactly these values; one must name the project: `repository_id`."""
    acl: Binds
    """What the job's agent may bind, as for an authtoken; `*` for everything that the owner may."""
    owner: Owner | None = None
    """The owner of the tunnels that the jobs' agents open; null for your own owner."""


class TrustRuleChange(_RuleTexts, use_attribute_docstrings=True):
    """A change of a trust rule. Absent fields stay as they are."""

    issuer: Filled = "-"
    """The issuer that signs the jobs' ID tokens."""
    claims: Claims = {"-": "-"}
    """Claims that a job's ID token must have, with exactly these values."""
    acl: Binds = ["-"]
    """What the job's agent may bind."""


def _view(links: Links, row: TrustRuleRow) -> TrustRule:
    return answer(TrustRule, row, uri=links.to(PATH, row.id), claims=dict(row.claims))


def routes(services: Services) -> APIRouter:
    """Return the routes of `/trust_rules`."""
    rules = services.trust_rules

    async def create(call: Call, body: NewTrustRule) -> TrustRule:
        return _view(call.links, await rules.create(call.actor, **body.model_dump()))

    async def update(call: Call, id: str, body: TrustRuleChange) -> TrustRuleRow:
        changes: dict[str, Any] = body.model_dump(exclude_unset=True)
        return await rules.update(call.actor, id, **changes)

    return ResourceRoutes(
        path=PATH,
        area="credentials",
        one="trust_rule",
        many="trust_rules",
        shape=TrustRule,
        page_shape=TrustRuleList,
        new=NewTrustRule,
        change=TrustRuleChange,
        help={
            "list": "Trust rules, the newest first; a member sees those of his owner.",
            "create": "Makes a rule; administrators only.",
            "get": "One rule.",
            "update": "Changes what is given; jobs it had admitted are judged anew. Administrators only.",
            "delete": "Deletes a rule; the links of jobs that it had admitted end. Administrators only.",
        },
        service=rules,
        viewer=lambda call: partial(_view, call.links),
        create=create,
        update=update,
    ).add_to(APIRouter(tags=["trust_rules"]))
