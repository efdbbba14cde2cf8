"""The navigation: every area of the dashboard, in the order people look for them."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NavigationEntry:
    """One line of the navigation.

    Attributes:
        icon: Of `look/icons.txt`.
        for_admins: Members do not see it.
    """

    label: str
    path: str
    icon: str
    for_admins: bool = False


@dataclass(frozen=True, slots=True)
class NavigationGroup:
    """Lines that belong together; the first group has no title."""

    title: str
    entries: tuple[NavigationEntry, ...]


MAP = (
    NavigationGroup(
        "", (NavigationEntry("Overview", "/", "overview"), NavigationEntry("Traffic", "/traffic", "traffic"))
    ),
    NavigationGroup(
        "Publish",
        (
            NavigationEntry("Edges", "/edges", "edge"),
            NavigationEntry("Endpoints", "/endpoints", "endpoint"),
            NavigationEntry("Tunnels", "/tunnels", "tunnel"),
            NavigationEntry("Domains", "/domains", "domain"),
            NavigationEntry("TCP ports", "/tcp-ports", "plug"),
        ),
    ),
    NavigationGroup(
        "Access",
        (
            NavigationEntry("Logins", "/logins", "login"),
            NavigationEntry("Providers", "/providers", "provider"),
            NavigationEntry("Authtokens", "/credentials", "credential"),
            NavigationEntry("API keys", "/api-keys", "key"),
        ),
    ),
    NavigationGroup(
        "Relay",
        (NavigationEntry("Users", "/users", "users", for_admins=True), NavigationEntry("Audit log", "/audit", "audit")),
    ),
)


def visible_groups(paths: Iterable[str], *, is_admin: bool) -> tuple[NavigationGroup, ...]:
    """Return the navigation with the areas that exist and that the user may see."""
    existing = set(paths)
    groups = (
        NavigationGroup(
            group.title, tuple(e for e in group.entries if e.path in existing and (is_admin or not e.for_admins))
        )
        for group in MAP
    )
    return tuple(group for group in groups if group.entries)


def is_at(entry: NavigationEntry, path: str) -> bool:
    """Whether a path belongs to this area."""
    return path == entry.path or (entry.path != "/" and path.startswith(entry.path + "/"))
