"""The five routes of a resource that is set up: list, create, get, update, delete.

A resource gives its models, its words, and what of a body its service takes.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Protocol, TypeVar

from fastapi import APIRouter, Query

from tunnelrelay.api.auth_middleware import Call
from tunnelrelay.api.values import Calling, Given, HasId, Id, Page, Shown, cut, maybe_time, needs
from tunnelrelay.services.actor import Actor

V = TypeVar("V", bound=HasId)
S = TypeVar("S", bound=Shown)


class ResourceService(Protocol[V]):
    """What the routes need of a service besides making and changing."""

    async def page(self, actor: Actor, *, before: str | None = None, limit: int = 100) -> list[V]:
        """Things the actor may see, the newest first."""

    async def get(self, actor: Actor, row_id: str, /) -> V:
        """One thing."""

    async def delete(self, actor: Actor, row_id: str, /) -> None:
        """Drops a thing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceRoutes(Generic[V]):
    """See the module.

    Attributes:
        path: Of the list; a thing's is this one with its id.
        area: The area of the scopes.
        one, many: As the names of the operations call a thing and a list.
        shape, page_shape: Models of the answers.
        new, change: Models of the bodies.
        help: What each route does, by `list`, `create`, `get`, `update` and `delete`.
        viewer: Makes the function that turns the service's views into answers of this request.
        create: Makes what a body asks for. Returns the answer.
        update: Changes what a body asks for.
    """

    path: str
    area: str
    one: str
    many: str
    shape: type[Shown]
    page_shape: type[Shown]
    new: type[Given]
    change: type[Given]
    help: Mapping[str, str]
    service: ResourceService[V]
    viewer: Callable[[Call], Callable[[V], Shown]]
    create: Callable[[Call, Any], Awaitable[Shown]]
    update: Callable[[Call, str, Any], Awaitable[V]]

    def add_to(self, router: APIRouter) -> APIRouter:
        """Adds the routes and returns the router."""
        service, rows_field = self.service, next(iter(self.page_shape.model_fields))

        async def list_all(call: Calling, page: Annotated[Page, Query()]) -> Shown:
            rows = await service.page(call.actor, before=page.before_id, limit=page.one_more)
            found = cut(call, self.path, page, rows, lambda row: row.id)
            view = self.viewer(call)
            rest: dict[str, Any] = {"uri": found.uri, "next_page_uri": found.next_page_uri}
            return self.page_shape(**{rows_field: [view(row) for row in found.rows]}, **rest)

        async def create(call: Calling, body: Given) -> Shown:
            return await self.create(call, body)

        async def get(call: Calling, id: Id) -> Shown:
            return self.viewer(call)(await service.get(call.actor, id))

        async def update(call: Calling, id: Id, body: Given) -> Shown:
            return self.viewer(call)(await self.update(call, id, body))

        async def delete(call: Calling, id: Id) -> None:
            await service.delete(call.actor, id)

        create.__annotations__["body"] = self.new
        update.__annotations__["body"] = self.change
        whole, single = f"/{self.path}", f"/{self.path}/{{id}}"
        for endpoint, verb, method, path, shape, status in (
            (list_all, "list", "GET", whole, self.page_shape, 200),
            (create, "create", "POST", whole, self.shape, 201),
            (get, "get", "GET", single, self.shape, 200),
            (update, "update", "PATCH", single, self.shape, 200),
            (delete, "delete", "DELETE", single, None, 204),
        ):
            router.add_api_route(
                path,
                endpoint,
                methods=[method],
                name=f"{verb}_{self.many if verb == 'list' else self.one}",
                description=self.help[verb],
                response_model=shape,
                status_code=status,
                **needs(f"{self.area}:{'read' if method == 'GET' else 'write'}"),
            )
        return router


def answer(shape: type[S], source: object, **more: object) -> S:
    """A model whose fields are attributes of `source`, with `more` where they are not or differ.

    Unix times (`…_at`) become RFC 3339, tuples lists.
    """
    values: dict[str, Any] = {}
    for name in shape.model_fields.keys() - more.keys():
        value = getattr(source, name)
        if name.endswith("_at"):
            value = maybe_time(value)
        values[name] = list(value) if isinstance(value, tuple) else value
    return shape(**values, **more)
