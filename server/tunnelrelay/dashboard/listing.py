"""Paging of long lists: the rows of one page, and the URLs of the first and the next page."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar
from urllib.parse import urlencode

from tunnelrelay.dashboard.request_input import UserRequest

PAGE = 50
"""Rows of one page of a list."""


class ListItem(Protocol):
    """A row of a list, with an id at which the next page can begin."""

    @property
    def id(self) -> str | int:
        """The row's id; the next page begins after the id of the last row."""


T = TypeVar("T", bound=ListItem)


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """One page of a list.

    Attributes:
        older: URL of the next page; "" on the last page.
        newest: URL of the first page; "" on the first page.
    """

    rows: list[T]
    older: str
    newest: str


async def listing(
    request: UserRequest, fetch: Callable[[str | None, int], Awaitable[list[T]]], **filters: str
) -> Listing[T]:
    """Return the page of a list that the request's URL asks for.

    Args:
        fetch: Returns the rows after the row with an id (None for the newest rows), at most as many as asked for.
        filters: Parameters that the URLs of other pages need too; "" for those that are not set.
    """
    before = request.query("before")
    rows = await fetch(before or None, PAGE + 1)
    older = address(request.path, **filters, before=str(rows[PAGE - 1].id)) if len(rows) > PAGE else ""
    return Listing(rows[:PAGE], older, address(request.path, **filters) if before else "")


def address(path: str, **query: str) -> str:
    """Return a URL: the path, with a query of those parameters that are not empty."""
    encoded = urlencode({name: text for name, text in query.items() if text})
    return f"{path}?{encoded}" if encoded else path
