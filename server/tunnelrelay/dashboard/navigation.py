"""The navigation menu: every area of the dashboard, in the order of the menu."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NavigationEntry:
    """One entry of the navigation menu.

    Attributes:
        icon: Name of the icon in `look/icons.txt`.
        for_admins: Whether only administrators see the entry.
    """

    label: str
    path: str
    icon: str
    for_admins: bool = False


@dataclass(frozen=True, slots=True)
class NavigationGroup:
    """A group of entries in the navigation menu, with a title; the first group's title is empty."""

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
            NavigationEntry("Trust rules", "/trust-rules", "pin"),
            NavigationEntry("API keys", "/api-keys", "key"),
        ),
    ),
    NavigationGroup(
        "Relay",
        (NavigationEntry("Users", "/users", "users", for_admins=True), NavigationEntry("Audit log", "/audit", "audit")),
    ),
)


def visible_groups(paths: Iterable[str], *, is_admin: bool) -> tuple[NavigationGroup, ...]:
    """Return the navigation menu with the entries whose paths exist and that the user may see."""
    existing = set(paths)
    groups = (
        NavigationGroup(
            group.title, tuple(e for e in group.entries if e.path in existing and (is_admin or not e.for_admins))
        )
        for group in MAP
    )
    return tuple(group for group in groups if group.entries)


def is_at(entry: NavigationEntry, path: str) -> bool:
    """Whether a requested path belongs to the area of a navigation entry."""
    return path == entry.path or (entry.path != "/" and path.startswith(entry.path + "/"))
