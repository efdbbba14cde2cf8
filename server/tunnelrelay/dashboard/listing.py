"""A page of a long list: its rows, and the addresses of those before and after it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar
from urllib.parse import urlencode

from tunnelrelay.dashboard.request_input import Asked

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
    """See the module.

    Attributes:
        older: Where the next page is; "" on the last.
        newest: Where the first page is; "" on it.
    """

    rows: list[T]
    older: str
    newest: str


async def listing(asked: Asked, fetch: Callable[[str | None, int], Awaitable[list[T]]], **filters: str) -> Listing[T]:
    """The page that the address asks for.

    Args:
        fetch: Gives rows behind an id (None: the newest), at most so many.
        filters: What the next page's address says too; "" for what was not asked for.
    """
    before = asked.query("before")
    rows = await fetch(before or None, PAGE + 1)
    older = address(asked.path, **filters, before=str(rows[PAGE - 1].id)) if len(rows) > PAGE else ""
    return Listing(rows[:PAGE], older, address(asked.path, **filters) if before else "")


def address(path: str, **query: str) -> str:
    """Return a path with a query of the parameters that are not empty."""
    said = urlencode({name: text for name, text in query.items() if text})
    return f"{path}?{said}" if said else path
