"""The actor of a call to the service layer, and what the actor may do. Does no I/O.

The role of the user decides (an admin can see and change everything, a member what the member's owner owns). For
programs the scopes of the API key also count; they only restrict the role.
"""

from dataclasses import dataclass, field
from enum import Enum

AREAS = ("edges", "domains", "credentials", "providers", "users", "sessions", "traffic", "audit")
"""The areas to which scopes give access. `edges` includes backends, tunnels, agent sessions and endpoints;
`credentials` are agents' tokens, trust rules and API keys; `sessions` are visitors' logins."""

EVERYTHING = "*"


class Access(Enum):
    """A kind of access to an area: reading or writing."""

    READ = "read"
    WRITE = "write"


SCOPES = (EVERYTHING, *(f"{area}:{access.value}" for area in AREAS for access in Access))
"""Every scope that a key can have. Write access includes read access."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """A signed-in user, or a program with a user's API key.

    Attributes:
        user_id: Id of the user, as in the audit log.
        name: Name of the user, for display.
        owner: Owner that the user belongs to.
        via: `dashboard`, `api` or `command`.
        api_key_id: API key of the call; "" for people.
        peer: Address of the client.
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
        """Return the only owner whose rows the actor may see, for a store's `owner` filter; None for all owners."""
        return None if self.is_admin else self.owner

    def owner_filter(self, owner: str | None) -> str | None:
        """Return the `owner` filter for a list of one owner's rows; for a member it is always the member's own
        owner.
        """
        return owner if self.is_admin else self.owner

    def owns(self, owner: str) -> bool:
        """Return whether the actor may see and change what this owner owns."""
        return self.is_admin or owner == self.owner

    @property
    def only_user(self) -> str | None:
        """Return the id of the only user whose personal rows (keys, sign-ins, the user's own row) the actor may see;
        None for all users.
        """
        return None if self.is_admin else self.user_id

    def acts_for(self, user_id: str) -> bool:
        """Return whether the actor may see and change the personal rows of this user."""
        return self.is_admin or user_id == self.user_id

    def may(self, area: str, access: Access) -> bool:
        """Return whether the key's scopes allow this access; without a key, the actor's role allows it."""
        granted = {EVERYTHING, f"{area}:write"} | ({f"{area}:read"} if access is Access.READ else set())
        return not granted.isdisjoint(self.scopes)
