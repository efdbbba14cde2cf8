"""The pages that most resources have: a list, a form for a new row, and a page to change and delete one row.

Each resource gives its templates (`list.html`, `new.html` and `one.html` in its folder), functions that read its forms,
and further variables for its templates. Templates get `row` (or `page.rows`), `texts` of the form's fields, `error` and
`errors`.

The form of a row contains a digest of the values that it shows, so that saving it does not silently overwrite another
user's change.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard.listing import ListItem, listing
from tunnelrelay.dashboard.request_input import UserRequest, action_route, page_route
from tunnelrelay.services.actor import Actor
from tunnelrelay.services.problems import Kind, ManageError, changed_meanwhile
from tunnelrelay.services.service_base import check_admin
from tunnelrelay.services.services import Services

V = TypeVar("V", bound=ListItem)
M = TypeVar("M")
Context = dict[str, Any]
SEEN = "seen"
"""Name of the form's field with the digest of the values that the form was filled with."""


class ListedService(Protocol[V]):
    """The methods of a service that lists, reads and deletes rows for the pages."""

    async def page(
        self, actor: Actor, *, before: str | None = None, limit: int = 100, owner: str | None = None
    ) -> list[V]:
        """Return at most `limit` rows that the user may see, the newest first; only those after the id `before`."""

    async def get(self, actor: Actor, row_id: str, /) -> V:
        """Return the row with this id, if the user may see it."""

    async def delete(self, actor: Actor, row_id: str, /) -> None:
        """Delete the row with this id, if the user may."""


async def _nothing(*_: object) -> Context:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcePages(Generic[V, M]):
    """The pages of one resource.

    Attributes:
        path: Path of the list.
        folder: Folder of the templates.
        service: Returns the resource's service out of all services.
        texts: Returns the texts of the form's fields for a row; gets None for the form of a new row.
        create: Creates a row from the request's form.
        made: Returns the response after a row was created.
        update: Changes a row by the request's form.
        removal: Last part of the path that deletes a row.
        removed: Key in `flash.TEXTS` of the message after a deletion.
        taken: The form's field at which the error that a name is taken is shown.
        by_owner: Whether the list can be filtered by owner.
        admin_only: Whether only administrators may create rows.
        list_context, new_context, one_context: Return further variables for the three templates.
    """

    path: str
    folder: str
    service: Callable[[Services], ListedService[V]]
    texts: Callable[[V | None], dict[str, str]]
    create: Callable[[UserRequest], Awaitable[M]]
    made: Callable[[UserRequest, M], Awaitable[Response]]
    update: Callable[[UserRequest], Awaitable[object]]
    removal: str = "delete"
    removed: str = "deleted"
    taken: str = "name"
    by_owner: bool = True
    admin_only: bool = False
    list_context: Callable[[UserRequest, list[V]], Awaitable[Context]] = _nothing
    new_context: Callable[[UserRequest], Awaitable[Context]] = _nothing
    one_context: Callable[[UserRequest, V], Awaitable[Context]] = _nothing

    def routes(self) -> list[Route]:
        """Return the routes of the resource's pages."""
        one = f"{self.path}/{{id}}"
        return [
            page_route(self.path, self._list),
            page_route(f"{self.path}/new", self.new_page),
            action_route(f"{self.path}/new", self._create),
            page_route(one, self.one_page),
            action_route(one, self.save),
            action_route(f"{one}/{self.removal}", self._remove),
        ]

    async def new_page(self, request: UserRequest, error: ManageError | None = None) -> Response:
        """Return the page with the form for a new row, with the error when creating it has failed."""
        if self.admin_only:
            check_admin(request.actor)
        return self._page(request, "new", None, error, **await self.new_context(request))

    async def one_page(self, request: UserRequest, error: ManageError | None = None) -> Response:
        """Return the page of the row that the path names, with the error when changing it has failed.

        Raises:
            ManageError: MISSING when the user may not see the row, whatever the error was.
        """
        row = await self._service(request).get(request.actor, request.path_param("id"))
        if error is not None and error.kind is Kind.FORBIDDEN:
            raise error
        return self._page(request, "one", row, error, **await self.one_context(request, row))

    async def save(self, request: UserRequest) -> Response:
        """Change a row by the request's form. Returns a redirect, or the form with the problems."""
        try:
            await self._check_unchanged(request)
            await self.update(request)
        except ManageError as error:
            return await self.one_page(request, error)
        return request.redirect(f"{self.path}/{request.path_param('id')}", flash="kept")

    async def _list(self, request: UserRequest) -> Response:
        service, owner = self._service(request), request.query("owner") if self.by_owner else ""
        page = await listing(
            request,
            lambda before, limit: service.page(request.actor, before=before, limit=limit, owner=owner or None),
            owner=owner,
        )
        more = await self.list_context(request, page.rows)
        return request.page(f"{self.folder}/list.html", page=page, owner=owner, path=self.path, **more)

    async def _create(self, request: UserRequest) -> Response:
        try:
            made = await self.create(request)
        except ManageError as error:
            return await self.new_page(request, error)
        return await self.made(request, made)

    async def _remove(self, request: UserRequest) -> Response:
        try:
            await self._service(request).delete(request.actor, request.path_param("id"))
        except ManageError as error:
            if error.kind is not Kind.CONFLICT:
                raise
            return await self.one_page(request, error)
        return request.redirect(self.path, flash=self.removed)

    async def _check_unchanged(self, request: UserRequest) -> None:
        """Raise `ManageError` CONFLICT when the row was changed after the form was filled with its values."""
        row = await self._service(request).get(request.actor, request.path_param("id"))
        if SEEN in request.form and request.form.text(SEEN) != _digest(self.texts(row)):
            raise changed_meanwhile("entry")

    def _page(self, request: UserRequest, name: str, row: V | None, error: ManageError | None, **more: Any) -> Response:
        texts = self.texts(row)
        typed = {field: request.form.text(field) for field in texts if field in request.form}
        return request.page(
            f"{self.folder}/{name}.html",
            status=error.kind.value if error else 200,
            path=self.path,
            row=row,
            texts=texts | typed,
            seen=_digest(texts),
            error=error,
            errors=self._errors(error),
            **more,
        )

    def _errors(self, error: ManageError | None) -> dict[str, str]:
        """Return the error's messages by the form's field."""
        if error is None:
            return {}
        return error.fields or ({self.taken: error.message} if error.code in ("name_taken", "domain_taken") else {})

    def _service(self, request: UserRequest) -> ListedService[V]:
        return self.service(request.deps.services)


def _digest(texts: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()[:32]
