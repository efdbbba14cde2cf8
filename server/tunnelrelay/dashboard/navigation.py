"""The dashboard's map: every area there is, in the order people look for them."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the navigation.

    Attributes:
        icon: Of `icons.html`.
        for_admins: Members do not see it.
    """

    label: str
    path: str
    icon: str
    for_admins: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Lines that belong together; the first group has no title."""

    title: str
    entries: tuple[Entry, ...]


MAP = (
    Group("", (Entry("Overview", "/", "overview"), Entry("Traffic", "/traffic", "traffic"))),
    Group(
        "Publish",
        (
            Entry("Edges", "/edges", "edge"),
            Entry("Endpoints", "/endpoints", "endpoint"),
            Entry("Tunnels", "/tunnels", "tunnel"),
            Entry("Domains", "/domains", "domain"),
        ),
    ),
    Group(
        "Access",
        (
            Entry("Logins", "/logins", "login"),
            Entry("Providers", "/providers", "provider"),
            Entry("Authtokens", "/credentials", "credential"),
            Entry("API keys", "/api-keys", "key"),
        ),
    ),
    Group("Relay", (Entry("Users", "/users", "users", for_admins=True), Entry("Audit log", "/audit", "audit"))),
)


def shown(paths: Iterable[str], *, is_admin: bool) -> tuple[Group, ...]:
    """The map with what exists and may be seen."""
    there = set(paths)
    groups = (
        Group(group.title, tuple(e for e in group.entries if e.path in there and (is_admin or not e.for_admins)))
        for group in MAP
    )
    return tuple(group for group in groups if group.entries)


def is_at(entry: Entry, path: str) -> bool:
    """Whether a path is of this area."""
    return path == entry.path or (entry.path != "/" and path.startswith(entry.path + "/"))
