"""The pages of a resource that is set up: list, new, one, save and remove.

A resource gives its templates (`NAME/list.html`, `new.html`, `one.html` in its folder), what it reads of its forms, and
what its pages show besides. Templates get `row` (or `page.rows`), `texts` of the form's fields, `error` and `errors`.

The form of a change carries a digest of the values it was made of, so that a change by another user meanwhile is not
overwritten unseen.
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
"""The field of a form with the digest of the values it was made of."""


class ListedService(Protocol[V]):
    """What the pages need of a service besides making and changing."""

    async def page(
        self, actor: Actor, *, before: str | None = None, limit: int = 100, owner: str | None = None
    ) -> list[V]:
        """Things the actor may see, the newest first."""

    async def get(self, actor: Actor, row_id: str, /) -> V:
        """One thing."""

    async def delete(self, actor: Actor, row_id: str, /) -> None:
        """Drops a thing."""


async def _nothing(*_: object) -> Context:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcePages(Generic[V, M]):
    """The pages of one resource.

    Attributes:
        path: Of the list.
        folder: Of the templates.
        service: Which of the services.
        texts: What a form's fields say of a thing; None for a new one.
        create: Makes what the form asks for.
        made: Answers with what was made.
        update: Changes what the form asks for.
        removal: The last part of the path that removes a thing.
        removed: The message after it, by its key in flash.py.
        taken: The field that shows that a name is taken.
        by_owner: The list can be narrowed to one owner's.
        list_context, new_context, one_context: What else the pages show.
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
        """The routes of the pages."""
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
        """The form for a new thing, again with what was wrong."""
        if self.admin_only:
            check_admin(request.actor)
        return self._page(request, "new", None, error, **await self.new_context(request))

    async def one_page(self, request: UserRequest, error: ManageError | None = None) -> Response:
        """One thing's page, again with what was wrong; an id that is not theirs raises MISSING whatever was wrong."""
        row = await self._service(request).get(request.actor, request.path_param("id"))
        if error is not None and error.kind is Kind.FORBIDDEN:
            raise error
        return self._page(request, "one", row, error, **await self.one_context(request, row))

    async def save(self, request: UserRequest) -> Response:
        """Change the row as the sent form says; the page with the problems when it cannot be."""
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
        """Raise `ManageError` CONFLICT when the form was made of other values than those of now."""
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
        """The problems at the form's fields."""
        if error is None:
            return {}
        return error.fields or ({self.taken: error.message} if error.code in ("name_taken", "domain_taken") else {})

    def _service(self, request: UserRequest) -> ListedService[V]:
        return self.service(request.deps.services)


def _digest(texts: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()[:32]
