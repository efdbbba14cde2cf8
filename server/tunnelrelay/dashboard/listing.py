"""A page of a long list: its rows, and the addresses of those before and after it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar
from urllib.parse import urlencode

from tunnelrelay.dashboard.request_input import UserRequest

PAGE = 50
"""Rows of one page."""


class ListItem(Protocol):
    """A row after which a list can be continued."""

    @property
    def id(self) -> str | int:
        """The id after which the next page begins."""


T = TypeVar("T", bound=ListItem)


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """One page of a list.

    Attributes:
        older: Where the next page is; "" on the last.
        newest: Where the first page is; "" on it.
    """

    rows: list[T]
    older: str
    newest: str


async def listing(
    request: UserRequest, fetch: Callable[[str | None, int], Awaitable[list[T]]], **filters: str
) -> Listing[T]:
    """The page that the address asks for.

    Args:
        fetch: Gives rows behind an id (None: the newest), at most so many.
        filters: What the next page's address says too; "" for what was not asked for.
    """
    before = request.query("before")
    rows = await fetch(before or None, PAGE + 1)
    older = address(request.path, **filters, before=str(rows[PAGE - 1].id)) if len(rows) > PAGE else ""
    return Listing(rows[:PAGE], older, address(request.path, **filters) if before else "")


def address(path: str, **query: str) -> str:
    """Return a path with a query of the parameters that are not empty."""
    encoded = urlencode({name: text for name, text in query.items() if text})
    return f"{path}?{encoded}" if encoded else path
