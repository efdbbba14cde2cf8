"""The services about people and credentials as one relay has them, on a store that another relay may share."""

from dataclasses import dataclass, field

from tests.oidc.world import TUN_EXAMPLE, Clock
from tests.support.memory_store import MemoryStore
from tunnelrelay.agents.name_claims import NameClaims
from tunnelrelay.config.values import PortRange
from tunnelrelay.keys.keyring import KeyRing
from tunnelrelay.observe.audit import Audit, AuditEvent
from tunnelrelay.registry.registry import Registry
from tunnelrelay.services.actor import Actor
from tunnelrelay.services.addrs import Addrs
from tunnelrelay.services.api_keys import ApiKeys
from tunnelrelay.services.audit_trail import AuditTrail
from tunnelrelay.services.credentials import Credentials
from tunnelrelay.services.domains import Domains
from tunnelrelay.services.logins import Logins
from tunnelrelay.services.service_base import ServiceBase
from tunnelrelay.services.sign_ins import SignIns
from tunnelrelay.services.users import Users
from tunnelrelay.store.base import SessionCriteria
from tunnelrelay.store.resources import UserRow

COOL = 1000.0
PEER = "203.0.113.9"
TCP_PORTS = (PortRange(None, 20_001, 20_002), PortRange(None, 21_000, 21_100))
"""Of the relay. Never listened at."""


@dataclass
class Office:
    """See the module.

    Attributes:
        clock: Unix time and, for limits, seconds.
        revoked: Tokens whose links this relay was made to end.
        rereads: How often it was told that tokens were changed.
        heard: How often it was made to look for ended sessions.
        ended: Whose sessions it was made to end.
    """

    store: MemoryStore = field(default_factory=MemoryStore)
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.revoked: list[str] = []
        self.rereads = self.heard = 0
        self.ended: list[SessionCriteria] = []
        self.registry = Registry(clock=self.clock, monotonic=self.clock)
        self.audit = Audit(clock=self.clock, owner_of=self.registry.owner_of)
        names = NameClaims(
            self.store,
            self.registry,
            cool_seconds=COOL,
            end_sessions=self._end_sessions,
            audit=self.audit,
            clock=self.clock,
        )
        self.base = ServiceBase(
            store=self.store,
            ring=KeyRing.generate(self.clock(), clock=self.clock),
            policy_key=b"k" * 32,
            address=TUN_EXAMPLE,
            audit=self.audit,
            clock=self.clock,
            cool_seconds=COOL,
        )
        self.users = Users(self.base)
        self.keys = ApiKeys(self.base)
        self.sign_ins = SignIns(self.base, self.keys, monotonic=self.clock)
        self.credentials = Credentials(self.base, self._revoke, self._reread)
        self.domains = Domains(self.base, names)
        self.addrs = Addrs(self.base, names, self.registry, TCP_PORTS)
        self.logins = Logins(self.base, self._apply_revocations)
        self.trail = AuditTrail(self.base)

    async def person(self, name: str, *, owner: str = "team", role: str = "member") -> UserRow:
        """A user, added by the operator."""
        return await self.users.create(OPERATOR, name, owner, role)

    async def actor(self, name: str, *, owner: str = "team", role: str = "member") -> Actor:
        """Somebody who is signed in."""
        return acting(await self.person(name, owner=owner, role=role))

    async def signed_in(self, user: UserRow, peer: str = PEER) -> str:
        """The cookie of somebody who used a one-time code."""
        return (await self.sign_ins.redeem(await self.sign_ins.invite(None, user.id), peer=peer)).cookie

    async def is_in(self, cookie: str) -> bool:
        """Whether this cookie is good."""
        return await self.sign_ins.actor_of(cookie, peer=PEER, request_id="r") is not None

    def events(self, kind: str = "") -> list[AuditEvent]:
        """What happened since the last look."""
        return [event for event in self.audit.take() if event.kind.startswith(kind)]

    async def _revoke(self, token_id: str) -> int:
        self.revoked.append(token_id)
        return 1

    async def _reread(self) -> None:
        self.rereads += 1

    async def _apply_revocations(self) -> int:
        self.heard += 1
        return 0

    async def _end_sessions(self, criteria: SessionCriteria) -> int:
        self.ended.append(criteria)
        return len(await self.store.end_sessions(criteria, self.clock()))


def acting(user: UserRow, *scopes: str, via: str = "dashboard") -> Actor:
    """The user at work, with a key of these scopes if any are given."""
    return Actor(
        user_id=user.id,
        name=user.name,
        owner=user.owner,
        is_admin=user.role == "admin",
        via="api" if scopes else via,
        scopes=frozenset(scopes or ("*",)),
        peer=PEER,
        request_id="r",
    )


OPERATOR = Actor(user_id="", name="operator", owner="default", is_admin=True, via="command")
