"""The part of a form that chooses an edge's host, a reserved name without an edge or a new one (`edges/host.html`)."""

from tunnelrelay.dashboard.form import Form
from tunnelrelay.dashboard.request_input import UserRequest
from tunnelrelay.services.problems import ManageError

MAX_DOMAINS = 200
"""Reserved domains that the form offers; an owner with more can type the name."""
NEW_NAME = "new"
"""Value of the form's choice to type a new name, which will be reserved."""


def chosen_host(form: Form) -> str:
    """Return the host or name that the form has chosen; "" for none."""
    host = form.text("host")
    return form.text("name") if host == NEW_NAME else host


async def choices(request: UserRequest, owner: str) -> dict[str, object]:
    """Return the template variables of the form's part: the hosts to choose from, and what was chosen.

    Args:
        owner: The owner whose reserved names are offered.
    """
    free = await _free(request, owner)
    return {
        "options": [*zip(free, free, strict=True), (NEW_NAME, "Reserve another name…")] if free else [],
        "host": request.form.text("host") or (free[0] if free else NEW_NAME),
        "name": request.form.text("name"),
    }


def by_place(error: ManageError) -> dict[str, str]:
    """Return the error's messages by the form's field. Errors about the host or a taken name go to the field `name`."""
    fields = dict(error.fields)
    for other in ("domain", "host"):
        if other in fields:
            fields["name"] = fields.pop(other)
    return fields or ({"name": error.message} if error.code in ("name_taken", "host_taken") else {})


async def _free(request: UserRequest, owner: str) -> list[str]:
    """Return the owner's reserved hosts at which no edge is served."""
    services, actor = request.deps.services, request.actor
    edges = await services.edges.page(actor, limit=1000, owner=owner)
    taken = {edge.row.host for edge in edges}
    domains = await services.domains.page(actor, limit=MAX_DOMAINS, owner=owner)
    return [domain.host for domain in domains if domain.host not in taken]
