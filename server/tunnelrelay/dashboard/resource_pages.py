"""The pages of a resource that is set up: list, new, one, save and remove.

A resource gives its templates (`NAME/list.html`, `new.html`, `one.html` in its folder), what it reads of its forms, and
what its pages show besides. Templates get `row` (or `page.rows`), `texts` of the form's fields, `error` and `errors`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard.listing import ListItem, listing
from tunnelrelay.dashboard.request_input import Asked, does, shows
from tunnelrelay.services.actor import Actor
from tunnelrelay.services.problems import Kind, ManageError
from tunnelrelay.services.services import Services

V = TypeVar("V", bound=ListItem)
M = TypeVar("M")
Context = dict[str, Any]


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
    """See the module.

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
    create: Callable[[Asked], Awaitable[M]]
    made: Callable[[Asked, M], Awaitable[Response]]
    update: Callable[[Asked], Awaitable[object]]
    removal: str = "delete"
    removed: str = "deleted"
    taken: str = "name"
    by_owner: bool = True
    admin_only: bool = False
    list_context: Callable[[Asked, list[V]], Awaitable[Context]] = _nothing
    new_context: Callable[[Asked], Awaitable[Context]] = _nothing
    one_context: Callable[[Asked, V], Awaitable[Context]] = _nothing

    def routes(self) -> list[Route]:
        """The routes of the pages."""
        one = f"{self.path}/{{id}}"
        return [
            shows(self.path, self._list),
            shows(f"{self.path}/new", self.new_page),
            does(f"{self.path}/new", self._create),
            shows(one, self.one_page),
            does(one, self.save),
            does(f"{one}/{self.removal}", self._remove),
        ]

    async def new_page(self, asked: Asked, error: ManageError | None = None) -> Response:
        """The form for a new thing, again with what was wrong."""
        if self.admin_only:
            for_admins(asked)
        return self._page(asked, "new", None, error, **await self.new_context(asked))

    async def one_page(self, asked: Asked, error: ManageError | None = None) -> Response:
        """One thing's page, again with what was wrong; an id that is not theirs raises MISSING whatever was wrong."""
        row = await self._service(asked).get(asked.actor, asked.named("id"))
        if error is not None and error.kind is Kind.FORBIDDEN:
            raise error
        return self._page(asked, "one", row, error, **await self.one_context(asked, row))

    async def save(self, asked: Asked) -> Response:
        """Changes a thing as its form says."""
        try:
            await self.update(asked)
        except ManageError as error:
            return await self.one_page(asked, error)
        return asked.go(f"{self.path}/{asked.named('id')}", said="kept")

    async def _list(self, asked: Asked) -> Response:
        service, owner = self._service(asked), asked.query("owner") if self.by_owner else ""
        page = await listing(
            asked,
            lambda before, limit: service.page(asked.actor, before=before, limit=limit, owner=owner or None),
            owner=owner,
        )
        more = await self.list_context(asked, page.rows)
        return asked.page(f"{self.folder}/list.html", page=page, owner=owner, path=self.path, **more)

    async def _create(self, asked: Asked) -> Response:
        try:
            made = await self.create(asked)
        except ManageError as error:
            return await self.new_page(asked, error)
        return await self.made(asked, made)

    async def _remove(self, asked: Asked) -> Response:
        try:
            await self._service(asked).delete(asked.actor, asked.named("id"))
        except ManageError as error:
            if error.kind is not Kind.CONFLICT:
                raise
            return await self.one_page(asked, error)
        return asked.go(self.path, said=self.removed)

    def _page(self, asked: Asked, name: str, row: V | None, error: ManageError | None, **more: Any) -> Response:
        texts = self.texts(row)
        typed = {field: asked.form.text(field) for field in texts if field in asked.form}
        return asked.page(
            f"{self.folder}/{name}.html",
            status=error.kind.value if error else 200,
            path=self.path,
            row=row,
            texts=texts | typed,
            error=error,
            errors=self._errors(error),
            **more,
        )

    def _errors(self, error: ManageError | None) -> dict[str, str]:
        """The problems at the form's fields."""
        if error is None:
            return {}
        return error.fields or ({self.taken: error.message} if error.code in ("name_taken", "domain_taken") else {})

    def _service(self, asked: Asked) -> ListedService[V]:
        return self.service(asked.deps.services)


def for_admins(asked: Asked) -> None:
    """Raise `ManageError` FORBIDDEN for users who are not administrators."""
    if not asked.actor.is_admin:
        raise ManageError(Kind.FORBIDDEN, "admin_only", "Only administrators may do this.")
