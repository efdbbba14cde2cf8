"""One agent's link, seen from the relay: it says hello, binds tunnels, and loses them with the link."""

import asyncio
import hmac
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, assert_never

from tunnelctl import __version__
from tunnelctl.link.link import HEARTBEAT, Link
from tunnelctl.wire.errors import Code
from tunnelctl.wire.messages import (
    PROTOCOL_VERSION,
    Bind,
    Bound,
    Hello,
    Join,
    Message,
    Refused,
    Superseded,
    Unbind,
    Welcome,
)
from tunnelctl.wire.stream import Stream
from tunnelrelay.address import PublicAddress
from tunnelrelay.agents.callbacks import callback_problem, redirect_uri
from tunnelrelay.agents.changes import changes
from tunnelrelay.agents.names import OTHER_NAME, NameRefused, choose_host, why_refused, why_taken
from tunnelrelay.agents.remember import NameKeeper
from tunnelrelay.agents.shares import MAX_OWNERS_NAMES, OwnerShares
from tunnelrelay.ids import new_id
from tunnelrelay.model import Token
from tunnelrelay.observe.audit import Audit
from tunnelrelay.observe.metrics import Metrics
from tunnelrelay.policy.compile import PolicyInvalid, compile_policy
from tunnelrelay.policy.limits import Bucket
from tunnelrelay.policy.named import Resolve, is_named, knows_none
from tunnelrelay.policy.rules import Connection, Policy
from tunnelrelay.registry.edges import EdgeTable
from tunnelrelay.registry.memory import Registry, Taken
from tunnelrelay.registry.tunnel import Tunnel
from tunnelrelay.store.base import NameRow, StoreError

log = logging.getLogger("tunnelrelay.agents")

HELLO_SECONDS = 10.0
MAX_TUNNELS = 64
"""Tunnels on one link: enough for any team's compose file, and a bound on what one credential can occupy."""
MAX_STREAMS = 1024
BURST_BINDS, BINDS_PER_SECOND = 4 * MAX_TUNNELS, 2.0
"""Every tunnel of a full link four times over at once, and one in half a second from then on: each may cost the store a
transaction."""
STOPPED = "stopped from the relay's dashboard or API"
MAX_METADATA, MAX_UPSTREAM = 4096, 256
"""Characters kept of what is only for people; ngrok takes as much metadata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What every agent session shares.

    Attributes:
        edges: Whom tunnels with labels join.
        policy_key: Key of the digests that name a configuration.
        mark_key: Key of the digests that name a tunnel in a visitor's cookie.
        clock: Unix time.
        spawn: Runs what waits for the store, until the relay stops.
        warm: Told of every OpenID connection bound, so that the first login does not wait for discovery.
        resolve: Knows the named providers.
    """

    address: PublicAddress
    registry: Registry
    edges: EdgeTable
    policy_key: bytes = field(repr=False)
    mark_key: bytes = field(repr=False)
    clock: Callable[[], float]
    names: NameKeeper
    shares: OwnerShares
    audit: Audit
    metrics: Metrics
    spawn: Callable[[Coroutine[Any, Any, None]], None]
    warm: Callable[[Connection], None]
    resolve: Resolve = knows_none


class AgentSession:
    """The user of one link on the relay's side.

    Attributes:
        id: In the relay's API.
        owner: Whose agent it is.
        token: What it came with; its id is "" on a relay that asks for none.
        started_at: Unix time.
        version, platform: The agent's, for people; "" before it said hello.
        tunnels: What it serves, by the numbers it chose.
    """

    def __init__(self, desk: Desk, *, token: Token, on_closed: Callable[["AgentSession"], None]) -> None:
        self._desk = desk
        self.owner = token.owner
        self.token = token
        self.started_at = desk.clock()
        self.id = new_id("tunnel_session", self.started_at)
        self.version = ""
        self.platform = ""
        self.tunnels: dict[int, Tunnel] = {}
        self._on_closed = on_closed
        self._agent = ""
        self._asking: dict[int, Bind] = {}
        self._binds = Bucket(BURST_BINDS, BINDS_PER_SECOND)
        self.link: Link
        self._timer: asyncio.TimerHandle | None = None

    @property
    def peer(self) -> str:
        """Where the agent connects from."""
        return self.link.peer

    def begin(self, link: Link) -> None:
        """The handshake is over."""
        self.link = link
        self._timer = asyncio.get_running_loop().call_later(HELLO_SECONDS, self._no_hello)

    def revoke(self) -> None:
        """The token is no longer good."""
        self.link.close(Code.UNAUTHORIZED, "the authtoken was revoked")

    def stop(self, *, is_restart: bool) -> None:
        """Ends the link.

        Args:
            is_restart: The agent may come back at once; else it hears that it is not to.
        """
        for number in () if is_restart else list(self.tunnels):
            self.link.send(Refused(tunnel=number, code="not_allowed", message=STOPPED, hint=""))
        self.link.close(Code.NO_ERROR, STOPPED)

    # LinkUser

    def on_opened(self, stream: Stream, payload: bytes, fin: bool) -> None:
        """Agents do not open streams: the session refuses it before it comes here."""

    def on_message(self, message: Message) -> None:
        """A control message from the agent."""
        match message:
            case Hello():
                self._hello(message)
            case Bind() if self._agent:
                self._bind(message)
            case Unbind() if self._agent:
                self._asking.pop(message.tunnel, None)
                self._release(message.tunnel, on_purpose=True)
            case Bind() | Join() | Unbind() | Welcome() | Bound() | Refused() | Superseded():
                self.link.close(Code.PROTOCOL, "this message is not the agent's to send now")
            case _:
                assert_never(message)

    def on_pong(self, rtt: float) -> None:
        """Nobody here asks."""

    def on_go_away(self, code: Code, reason: str) -> None:
        """The agent drains: its streams go on, new requests go elsewhere."""
        log.info("agent draining owner=%s peer=%s reason=%s", self.owner, self.link.peer, reason)
        for tunnel in self.tunnels.values():
            self._desk.registry.drain(tunnel.id)

    def on_closed(self, code: Code, reason: str) -> None:
        """The link is gone: what it served is kept for a moment."""
        if self._timer is not None:
            self._timer.cancel()
        log.info(
            "link closed owner=%s peer=%s code=%s reason=%s", self.owner, self.link.peer, code.name.lower(), reason
        )
        self._asking.clear()
        for number in list(self.tunnels):
            self._release(number, on_purpose=code is Code.UNAUTHORIZED)
        self._on_closed(self)

    # The inside

    def _hello(self, hello: Hello) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._agent or hello.protocol != PROTOCOL_VERSION or not _is_instance(hello.agent):
            self.link.close(Code.PROTOCOL, f"one hello, of protocol {PROTOCOL_VERSION}, was expected")
            return
        self._agent = hello.agent
        self.version, self.platform = hello.version[:40], hello.platform[:80]
        self.link.session.max_streams = max(1, min(MAX_STREAMS, hello.max_streams))
        log.info("agent connected owner=%s peer=%s version=%s", self.owner, self.link.peer, self.version)
        self.link.send(
            Welcome(
                version=__version__,
                owner=self.owner,
                domain=self._desk.address.domain,
                heartbeat_seconds=HEARTBEAT,
                max_streams=MAX_STREAMS,
            )
        )

    def _bind(self, bind: Bind) -> None:
        if not self._binds.take(asyncio.get_running_loop().time()):
            desk = self._desk
            desk.metrics.limited("agent_binds")
            desk.audit.record("rate.limited", reason="agent_binds", owner=self.owner, peer=self.link.peer)
            self.link.close(Code.LIMIT, f"more than {BURST_BINDS} binds at once and {BINDS_PER_SECOND} a second")
            return
        host = choose_host(bind, self._desk.address)
        taken = self.tunnels.keys() | self._asking.keys()
        if isinstance(host, NameRefused):
            self._refuse(bind, "name_invalid", host.message, host.hint)
        elif not 1 <= bind.tunnel <= 0xFFFF or bind.tunnel in taken or len(taken) >= MAX_TUNNELS:
            self._refuse(bind, "too_many", f"at most {MAX_TUNNELS} tunnels on one link, each with its own number")
        else:
            self._bind_at(bind, host)

    def _bind_at(self, bind: Bind, host: str) -> None:
        """A name that is known here is claimed here: a store that is away must not stop who comes back to it."""
        desk = self._desk
        try:
            policy = self._policy(bind)
        except PolicyInvalid as error:
            self._refuse(bind, "policy_invalid", "; ".join(error.problems), "correct the flags and start again")
            return
        if problem := callback_problem(bind):
            self._refuse(bind, "policy_invalid", problem, "choose a name with --subdomain")
            return
        endpoint = desk.registry.find(host)
        if endpoint is not None:
            self._claim(bind, host, policy, endpoint.generation)
        elif self._may_ask(bind):
            self._asking[bind.tunnel] = bind
            desk.spawn(self._ask(bind, host, policy))

    def _policy(self, bind: Bind) -> Policy:
        """What guards the endpoint, by the providers there are now. Raises `PolicyInvalid`."""
        desk = self._desk
        return compile_policy(
            bind.policy,
            upstream=bind.upstream,
            owner=self.owner,
            key=desk.policy_key,
            is_local=desk.address.is_local,
            resolve=desk.resolve,
        )

    def _may_ask(self, bind: Bind) -> bool:
        """Whether this owner may have one more name, and the store's time for it."""
        desk = self._desk
        if desk.registry.held_by(self.owner) >= MAX_OWNERS_NAMES:
            limit = "owner_names"
            self._refuse(bind, "too_many", f"at most {MAX_OWNERS_NAMES} names at once for one owner")
        elif wait := desk.shares.ask(self.owner):
            limit = "owner_binds"
            message = f"this owner has bound too many new names lately; one more in {wait} s"
            self._refuse(bind, "try_later", message, "nothing to do: the agent tries again by itself")
        else:
            return True
        desk.metrics.limited(limit)
        desk.audit.record("rate.limited", reason=limit, owner=self.owner, peer=self.link.peer)
        return False

    async def _ask(self, bind: Bind, host: str, policy: Policy) -> None:
        """A name that is new here: the store decides between owners, also between those of two relays."""
        row, names = None, self._desk.names
        try:
            row = await names.claim(host, self.owner)
        except StoreError as error:
            log.warning("bind put off, the store is away: owner=%s host=%s error=%s", self.owner, host, error)
        is_ours = row is not None and row.owner == self.owner
        if self._asking.get(bind.tunnel) is not bind:
            if is_ours:
                names.given_up(host, self.owner)  # unbound meanwhile, or the link is gone
            return
        del self._asking[bind.tunnel]
        if row is None:
            hint = "nothing to do: the agent tries again by itself; the relay's operator finds more in its log"
            self._refuse(bind, "try_later", f"the relay cannot look up {host} at the moment", hint)
        elif is_ours:
            self._claim(bind, host, policy, row.generation)
        else:
            self._refuse_taken(bind, row)

    def _claim(self, bind: Bind, host: str, policy: Policy, generation: int) -> None:
        desk = self._desk
        known = desk.registry.find(host)
        former = known.policy if known is not None else None
        tunnel = desk.registry.claim(self._tunnel(bind), host, policy, generation)
        if isinstance(tunnel, Taken):
            self._refuse_held(bind, tunnel)
            return
        self.tunnels[bind.tunnel] = tunnel
        for connection in policy.providers():
            desk.warm(connection)
        desk.audit.record("tunnel.bound", host=host, owner=self.owner, peer=self.link.peer, name=bind.name[:80])
        for kind, details in changes(former, policy, desk.policy_key) if former is not None else ():
            desk.audit.record(kind, host=host, owner=self.owner, peer=self.link.peer, **details)
        log.info("tunnel bound owner=%s host=%s name=%s peer=%s", self.owner, host, bind.name[:80], self.link.peer)
        self.link.send(
            Bound(
                tunnel=bind.tunnel,
                url=desk.address.url(host),
                host=host,
                generation=tunnel.claim,
                redirect_uri=redirect_uri(policy.connection, host, desk.address),
                id=tunnel.id,
                urls=(desk.address.url(host),),
            )
        )

    def _tunnel(self, bind: Bind) -> Tunnel:
        """What the agent offers, as the registry keeps it."""
        desk, now, oidc = self._desk, self._desk.clock(), bind.policy.oidc
        return Tunnel(
            id=new_id("tunnel", now),
            link=self.link,
            number=bind.tunnel,
            owner=self.owner,
            agent=self._agent,
            name=bind.name[:80],
            peer=self.link.peer,
            end=lambda by, at: self._supersede(bind.tunnel, by, at),
            lose=lambda message, hint: self._lose(bind, message, hint),
            recompile=(lambda: self._policy(bind)) if oidc is not None and is_named(oidc) else None,
            mark=mark_of(desk.mark_key, self._agent, bind.tunnel),
            pooling=bind.pooling,
            weight=bind.weight,
            metadata=bind.metadata[:MAX_METADATA],
            upstream=bind.upstream[:MAX_UPSTREAM],
            session=self.id,
            credential=self.token.id,
            started_at=now,
        )

    def _release(self, number: int, *, on_purpose: bool) -> None:
        tunnel = self.tunnels.pop(number, None)
        if tunnel is None:
            return
        desk, (host,) = self._desk, tunnel.hosts
        if not desk.registry.release(host, tunnel.claim, on_purpose=on_purpose):
            return
        if on_purpose:
            desk.names.given_up(host, self.owner)
            log.info("tunnel unbound owner=%s host=%s", self.owner, host)
        else:
            desk.names.lost(host)
        reason = "unbound" if on_purpose else "link_lost"
        desk.audit.record("tunnel.unbound", reason=reason, host=host, owner=self.owner, peer=self.link.peer)

    def _supersede(self, number: int, by: str, at: str) -> None:
        """Another agent of the same owner took the name; the registry has forgotten this claim already."""
        self.tunnels.pop(number, None)
        if self.link.is_open:
            self.link.send(Superseded(tunnel=number, by=by, at=at))

    def _lose(self, bind: Bind, message: str, hint: str) -> None:
        """The name was given to another owner while this relay could not reach the store, or to an edge."""
        self.tunnels.pop(bind.tunnel, None)
        if self.link.is_open:
            self._refuse(bind, "name_taken", message, hint or OTHER_NAME)

    def _refuse_held(self, bind: Bind, taken: Taken) -> None:
        desk = self._desk
        code, message, hint = why_refused(taken)
        desk.audit.record("name.refused", reason=taken.why, host=taken.host, owner=self.owner, peer=self.link.peer)
        self._refuse(bind, code, message, hint)

    def _refuse_taken(self, bind: Bind, row: NameRow) -> None:
        desk = self._desk
        message, hint = why_taken(row, self._desk.names.kept_until(row))
        desk.audit.record("name.refused", reason="taken", host=row.host, owner=self.owner, peer=self.link.peer)
        self._refuse(bind, "name_taken", message, hint)

    def _refuse(self, bind: Bind, code: str, message: str, hint: str = "") -> None:
        log.info("bind refused owner=%s peer=%s code=%s", self.owner, self.link.peer, code)
        self.link.send(Refused(tunnel=bind.tunnel, code=code, message=message, hint=hint))

    def _no_hello(self) -> None:
        self.link.close(Code.PROTOCOL, f"no hello in {HELLO_SECONDS:.0f} s")


def _is_instance(agent: str) -> bool:
    return len(agent) == 32 and not agent.strip("0123456789abcdef")


def mark_of(key: bytes, agent: str, number: int) -> bytes:
    """What stands for a tunnel in a visitor's cookie: the same when its agent comes back, and no instance id."""
    return hmac.digest(key, f"{agent}\n{number}".encode(), "sha256")[:12].hex().encode()
