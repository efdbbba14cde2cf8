"""The five routes that most resources of the API have: list, create, get, update and delete.

Each resource gives its models, its help texts and its service.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Protocol, TypeVar

from fastapi import APIRouter, Query

from tunnelrelay.api.auth_middleware import Call
from tunnelrelay.api.values import Calling, HasId, Id, Page, RequestBody, ResponseBody, cut, maybe_rfc3339, needs
from tunnelrelay.services.actor import Actor

V = TypeVar("V", bound=HasId)
S = TypeVar("S", bound=ResponseBody)


class ResourceService(Protocol[V]):
    """The methods of a service that the routes call for lists, reads and deletes."""

    async def page(self, actor: Actor, *, before: str | None = None, limit: int = 100) -> list[V]:
        """Return the rows that the user may see, the newest first: at most `limit`, and only those before this id."""

    async def get(self, actor: Actor, row_id: str, /) -> V:
        """Return the row with this id, if the user may see it."""

    async def delete(self, actor: Actor, row_id: str, /) -> None:
        """Delete the row with this id, if the user may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceRoutes(Generic[V]):
    """The five routes of one resource, with their models and help texts.

    Attributes:
        path: Path of the list; a row's path is this one and the row's id.
        area: First part of the scopes that the routes need, such as `edges` of `edges:read`.
        one, many: The resource's name in the operation ids, singular and plural.
        shape, page_shape: Models of the responses for one row and for a list.
        new, change: Models of the bodies that create and change a row.
        help: What each route does, by `list`, `create`, `get`, `update` and `delete`.
        service: Lists, reads and deletes rows.
        viewer: Makes the function that turns the service's rows into responses for one request.
        create: Creates the row of a body. Returns the response.
        update: Changes the row with an id by a body. Returns the changed row.
    """

    path: str
    area: str
    one: str
    many: str
    shape: type[ResponseBody]
    page_shape: type[ResponseBody]
    new: type[RequestBody]
    change: type[RequestBody]
    help: Mapping[str, str]
    service: ResourceService[V]
    viewer: Callable[[Call], Callable[[V], ResponseBody]]
    create: Callable[[Call, Any], Awaitable[ResponseBody]]
    update: Callable[[Call, str, Any], Awaitable[V]]

    def add_to(self, router: APIRouter) -> APIRouter:
        """Add the routes to a router. Returns the router."""
        service, rows_field = self.service, next(iter(self.page_shape.model_fields))

        async def list_all(call: Calling, page: Annotated[Page, Query()]) -> ResponseBody:
            rows = await service.page(call.actor, before=page.before_id, limit=page.one_more)
            found = cut(call, self.path, page, rows, lambda row: row.id)
            view = self.viewer(call)
            rest: dict[str, Any] = {"uri": found.uri, "next_page_uri": found.next_page_uri}
            return self.page_shape(**{rows_field: [view(row) for row in found.rows]}, **rest)

        async def create(call: Calling, body: RequestBody) -> ResponseBody:
            return await self.create(call, body)

        async def get(call: Calling, id: Id) -> ResponseBody:
            return self.viewer(call)(await service.get(call.actor, id))

        async def update(call: Calling, id: Id, body: RequestBody) -> ResponseBody:
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
    """Return a response model filled from the attributes of `source`; `more` adds or replaces fields.

    Unix times (`…_at`) become texts as in RFC 3339, and tuples become lists.
    """
    values: dict[str, Any] = {}
    for name in shape.model_fields.keys() - more.keys():
        value = getattr(source, name)
        if name.endswith("_at"):
            value = maybe_rfc3339(value)
        values[name] = list(value) if isinstance(value, tuple) else value
    return shape(**values, **more)
