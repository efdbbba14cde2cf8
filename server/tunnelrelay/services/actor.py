"""Who wants something of the service layer, and what they may do. Pure.

Two things decide: the user's role (an admin sees and changes everything, a member what his owner owns) and, for
programs, the scopes of the API key, which only ever narrow what the user may do.
"""

from dataclasses import dataclass, field
from enum import Enum

AREAS = ("edges", "domains", "credentials", "providers", "users", "sessions", "traffic", "audit")
"""What scopes speak of. `edges` are edges with their backends, tunnels, tunnel sessions and endpoints; `credentials`
agents' tokens and API keys; `sessions` visitors' logins."""

EVERYTHING = "*"


class Access(Enum):
    """What one wants to do with an area."""

    READ = "read"
    WRITE = "write"


SCOPES = (EVERYTHING, *(f"{area}:{access.value}" for area in AREAS for access in Access))
"""Every scope a key can have. Writing includes reading."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """A user who is signed in, or a program with a user's key.

    Attributes:
        user_id: Whom the audit log names.
        name: The user's, for people.
        owner: Whose things are theirs.
        via: `dashboard`, `api` or `command`.
        api_key_id: The key that was shown; "" for people.
        peer: Where they come from.
    """

    user_id: str
    name: str
    owner: str
    is_admin: bool
    via: str
    scopes: frozenset[str] = field(default=frozenset({EVERYTHING}))
    api_key_id: str = ""
    peer: str = ""
    request_id: str = ""

    @property
    def only_owner(self) -> str | None:
        """Whose things they may see: a value for a store's `owner` filter; None for every owner's."""
        return None if self.is_admin else self.owner

    def owner_filter(self, asked: str | None) -> str | None:
        """The same for a list of which only one owner's things are asked for; nothing widens a member's."""
        return asked if self.is_admin else self.owner

    def owns(self, owner: str) -> bool:
        """Whether something of this owner is theirs to see and change."""
        return self.is_admin or owner == self.owner

    def may(self, area: str, access: Access) -> bool:
        """Whether the key's scopes allow it; people may everything their role allows."""
        granted = {EVERYTHING, f"{area}:write"} | ({f"{area}:read"} if access is Access.READ else set())
        return not granted.isdisjoint(self.scopes)
