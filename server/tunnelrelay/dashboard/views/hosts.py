"""Choosing where an edge answers: a reserved name that is free, or a new one. Its fields are `edges/host.html`."""

from tunnelrelay.dashboard.form import Form
from tunnelrelay.dashboard.request_input import UserRequest
from tunnelrelay.services.problems import ManageError

MAX_DOMAINS = 200
"""Reserved domains to choose from; who has more types the name."""
NEW_NAME = "new"
"""The choice of a name that is to be reserved."""


def chosen_host(form: Form) -> str:
    """The host or name that was chosen; "" for none."""
    host = form.text("host")
    return form.text("name") if host == NEW_NAME else host


async def choices(request: UserRequest, owner: str) -> dict[str, object]:
    """What the fields show.

    Args:
        owner: Whose reserved names are offered.
    """
    free = await _free(request, owner)
    return {
        "options": [*zip(free, free, strict=True), (NEW_NAME, "Reserve another name…")] if free else [],
        "host": request.form.text("host") or (free[0] if free else NEW_NAME),
        "name": request.form.text("name"),
    }


def by_place(error: ManageError) -> dict[str, str]:
    """The problems by field; a name that is not to be had belongs to the name."""
    fields = dict(error.fields)
    for other in ("domain", "host"):
        if other in fields:
            fields["name"] = fields.pop(other)
    return fields or ({"name": error.message} if error.code in ("name_taken", "host_taken") else {})


async def _free(request: UserRequest, owner: str) -> list[str]:
    """The owner's reserved hosts that no edge answers at."""
    services, actor = request.deps.services, request.actor
    edges = await services.edges.page(actor, limit=1000, owner=owner)
    taken = {edge.row.host for edge in edges}
    domains = await services.domains.page(actor, limit=MAX_DOMAINS, owner=owner)
    return [domain.host for domain in domains if domain.host not in taken]
