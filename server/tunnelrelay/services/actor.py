"""The actor of a call to the service layer, and what the actor may do. Pure.

The user's role decides (an admin sees and changes everything, a member what the member's owner owns); for programs also
the scopes of the API key, which only narrow the role.
"""

from dataclasses import dataclass, field
from enum import Enum

AREAS = ("edges", "domains", "credentials", "providers", "users", "sessions", "traffic", "audit")
"""What scopes speak of. `edges` are edges with their backends, tunnels, tunnel sessions and endpoints; `credentials`
agents' tokens and API keys; `sessions` visitors' logins."""

EVERYTHING = "*"


class Access(Enum):
    """A kind of access to an area."""

    READ = "read"
    WRITE = "write"


SCOPES = (EVERYTHING, *(f"{area}:{access.value}" for area in AREAS for access in Access))
"""Every scope a key can have. Writing includes reading."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """A user who is signed in, or a program with a user's key.

    Attributes:
        user_id: The user, as the audit log names them.
        name: The user's name, for people.
        owner: The user's owner.
        via: `dashboard`, `api` or `command`.
        api_key_id: The API key of the call; "" for people.
        peer: The client's address.
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
        """The value for a store's `owner` filter: the only owner whose rows they may see; None for every owner's."""
        return None if self.is_admin else self.owner

    def owner_filter(self, owner: str | None) -> str | None:
        """The `owner` filter for a list that is narrowed to one owner; a member's is always the member's own."""
        return owner if self.is_admin else self.owner

    def owns(self, owner: str) -> bool:
        """Whether they may see and change what this owner owns."""
        return self.is_admin or owner == self.owner

    @property
    def only_user(self) -> str | None:
        """Whose own things (keys, sign-ins, the user's row) they may see, by the user's id; None for everybody's."""
        return None if self.is_admin else self.user_id

    def acts_for(self, user_id: str) -> bool:
        """Whether such a thing of this user's is theirs to see and change."""
        return self.is_admin or user_id == self.user_id

    def may(self, area: str, access: Access) -> bool:
        """Whether the key's scopes allow this access; people have no scopes and may do all that their role allows."""
        granted = {EVERYTHING, f"{area}:write"} | ({f"{area}:read"} if access is Access.READ else set())
        return not granted.isdisjoint(self.scopes)
