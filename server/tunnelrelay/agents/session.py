"""The relay's side of one agent's link: answers the agent's messages, and removes its tunnels when the link closes."""

import asyncio
from collections.abc import Callable, Sequence
from typing import assert_never

import msgspec

from tunnelctl import __version__
from tunnelctl.bounds import DeclaredBound
from tunnelctl.eventlog import EventLog
from tunnelctl.link.link import HEARTBEAT, Link
from tunnelctl.policy.check import tcp_problems
from tunnelctl.wire.errors import Code
from tunnelctl.wire.limits import MAX_TUNNELS, Bucket
from tunnelctl.wire.messages import (
    PROTOCOL_VERSION,
    AppState,
    Bind,
    Bound,
    Hello,
    Join,
    ReceivedMessage,
    Refused,
    Superseded,
    Unbind,
    UnknownSettings,
    Welcome,
)
from tunnelctl.wire.problem import Problem
from tunnelctl.wire.stream import INITIAL_WINDOW, Stream
from tunnelrelay.address import TCP, tcp_port
from tunnelrelay.agents.address_updates import AddressUpdates
from tunnelrelay.agents.context import AgentContext
from tunnelrelay.agents.host_names import OTHER_NAME, NameRefused, choose_host, why_refused, why_taken
from tunnelrelay.agents.policy_diff import changes
from tunnelrelay.agents.quotas import MAX_OWNERS_NAMES
from tunnelrelay.agents.redirect_uris import callback_problem
from tunnelrelay.agents.tcp_addresses import ALWAYS
from tunnelrelay.agents.tunnel_offers import (
    OfferRefused,
    bound_of,
    labels_of,
    make_tunnel,
    not_allowed,
    policy_invalid,
    run_token_digest,
    weight_problem,
)
from tunnelrelay.ids import new_id
from tunnelrelay.model import Token
from tunnelrelay.policy.compile import PolicyInvalid, compile_policy
from tunnelrelay.policy.named_provider import names_provider
from tunnelrelay.policy.rules import Policy
from tunnelrelay.policy.trust import JobAdmitted, TrustRule
from tunnelrelay.registry.registry import Taken
from tunnelrelay.registry.tunnel import Tunnel
from tunnelrelay.store.base import NameRow, StoreError

log = EventLog("tunnelrelay.agents")

HELLO_SECONDS = 10.0
MAX_TUNNEL_BYTES = 64_000
"""Bytes that the texts of one tunnel (metadata, labels, name, address) take at most, at four bytes a character."""
MAX_STREAMS = 1024
"""Requests open at once on one link. An agent may fill the 64 KiB window of each before visitors read: 64 MiB."""
BURST_BINDS, BINDS_PER_SECOND = 2 * MAX_TUNNELS, 2.0
"""Budget of one link's binds and joins: all tunnels of a full link twice at once, then two per second. One may cost the
store a transaction. The product's own agent sends at most half as many."""
BURST_STATES, STATES_PER_SECOND = 2 * MAX_TUNNELS, 8.0
"""Budget of one link's reports about local services: two for each tunnel of a full link at once, then eight per second.
One costs a log line and an event for the dashboard. Reports beyond it are ignored: the relay's own probes or the next
visitor's request correct a wrong state."""
STOPPED = "stopped from the relay's dashboard or API"
MAX_REFUSAL, MAX_HINT = 6_000, 1_000
"""Characters of a refusal's message and of its hint. Both together are at most 42 kB as JSON when every character is
escaped; the list of problems beside them is at most 14 kB (`tunnelctl.wire.problem`). So a refusal always fits into one
message of the link (64 KiB), whatever the agent's settings are."""


Offer = Bind | Join | UnknownSettings
"""What an agent sends to have a tunnel served."""

BOUNDS = (
    DeclaredBound(
        name="tunnels",
        limit=MAX_TUNNELS,
        unit="tunnels",
        per="link",
        when_full="the bind is refused",
        worst_bytes=MAX_TUNNELS * MAX_TUNNEL_BYTES,
        holds=(
            "AgentSession.tunnels",
            "AgentSession._asking",
        ),
    ),
    DeclaredBound(
        name="requests open on one link",
        limit=MAX_STREAMS,
        unit="requests",
        per="link",
        when_full="further ones go to another tunnel, or wait, or get 503",
        worst_bytes=MAX_STREAMS * INITIAL_WINDOW,
    ),
    DeclaredBound(
        name="binds",
        limit=BURST_BINDS,
        unit="at once, 2 a second after",
        per="link",
        when_full="the link is ended with LIMIT",
        worst_bytes=0,
    ),
    DeclaredBound(
        name="news of local services",
        limit=BURST_STATES,
        unit="at once, 8 a second after",
        per="link",
        when_full="further news are ignored",
        worst_bytes=0,
    ),
)


class AgentSession:
    """Handles one agent's link: binds tunnels, and removes them when the link closes.

    Attributes:
        id: The session's id in the relay's API.
        owner: The owner of the agent's token.
        token: The agent's token; its id is "" on a relay that requires none. For a CI job it is a record with the ACL
            that the job's trust rules grant, and the id of one of these rules.
        job: The CI job that the agent runs in; None when the agent sent an authtoken.
        started_at: Unix time.
        version, platform: What the agent's hello says about itself, shown to people; "" before the hello.
        tunnels: The agent's tunnels, by the numbers that the agent chose.
    """

    def __init__(
        self,
        context: AgentContext,
        *,
        token: Token,
        job: JobAdmitted | None = None,
        on_closed: Callable[["AgentSession"], None],
    ) -> None:
        self._context = context
        self.owner = token.owner
        self.token = token
        self.job = job
        self.started_at = context.clock()
        self.id = new_id("tunnel_session", self.started_at)
        self.version = ""
        self.platform = ""
        self.tunnels: dict[int, Tunnel] = {}
        self._on_closed = on_closed
        self._agent = ""
        self._asking: dict[int, Bind] = {}
        self._address_updates = AddressUpdates(self._tell)
        self._binds = Bucket(BURST_BINDS, BINDS_PER_SECOND)
        self._states = Bucket(BURST_STATES, STATES_PER_SECOND)
        self.link: Link
        self._timer: asyncio.TimerHandle | None = None

    @property
    def peer(self) -> str:
        """The network address that the agent connects from."""
        return self.link.peer

    @property
    def rules(self) -> tuple[TrustRule, ...]:
        """The trust rules that admitted the agent's CI job; empty for an agent with an authtoken."""
        return () if self.job is None else self.job.rules

    def begin(self, link: Link) -> None:
        """Start the session on a link whose handshake is done; the agent must say hello within `HELLO_SECONDS`."""
        self.link = link
        self._timer = asyncio.get_running_loop().call_later(HELLO_SECONDS, self._no_hello)

    def revoke(self, reason: str = "the authtoken was revoked") -> None:
        """End the link, as its credential is no longer valid."""
        self.link.close(Code.UNAUTHORIZED, reason)

    def stop(self, *, is_restart: bool) -> None:
        """End the link on a user's request.

        Args:
            is_restart: Whether the agent should reconnect at once; otherwise it is told to stop.
        """
        self.link.close(Code.NO_ERROR if is_restart else Code.STOPPED, STOPPED)

    # Callbacks of the link (`LinkUser`)

    def on_opened(self, stream: Stream, payload: bytes, fin: bool) -> None:
        """Never called: the wire session refuses streams that agents open."""

    def on_about(self, stream: Stream, payload: bytes) -> None:
        """Never called: the wire session refuses ABOUT frames of agents, which may not open streams."""

    def on_message(self, message: ReceivedMessage) -> None:
        """Handle a control message of the agent. A message that it may not send now ends the link."""
        match message:
            case Hello():
                self._hello(message)
            case Bind() if self._agent:
                self._bind(message)
            case Join() if self._agent:
                self._join(message)
            case Unbind() if self._agent:
                self._asking.pop(message.tunnel, None)
                self._release(message.tunnel, on_purpose=True)
            case AppState() if self._agent:
                self._note_app(message)
            case UnknownSettings() if self._agent:
                self._refuse_unknown(message)
            case (
                UnknownSettings()
                | Bind()
                | Join()
                | Unbind()
                | AppState()
                | Welcome()
                | Bound()
                | Refused()
                | Superseded()
            ):
                self.link.close(Code.PROTOCOL, "this message is not the agent's to send now")
            case _:
                assert_never(message)

    def on_pong(self, rtt: float) -> None:
        """Do nothing: the relay does not use round-trip times."""

    def on_go_away(self, code: Code, reason: str) -> None:
        """Send the agent's tunnels no new requests, as the agent is draining; open streams go on."""
        log.info("agent draining", owner=self.owner, peer=self.link.peer, reason=reason)
        for tunnel in self.tunnels.values():
            self._context.registry.drain(tunnel.id)

    def on_closed(self, code: Code, reason: str) -> None:
        """Remove the tunnels of the closed link. Their names are kept for the owner for a while."""
        if self._timer is not None:
            self._timer.cancel()
        log.info("link closed", owner=self.owner, peer=self.link.peer, code=code.name.lower(), reason=reason)
        self._asking.clear()
        for number in list(self.tunnels):
            self._release(number, on_purpose=code in (Code.UNAUTHORIZED, Code.STOPPED))
        self._on_closed(self)

    # Hello and binds

    def _hello(self, hello: Hello) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._agent or hello.protocol != PROTOCOL_VERSION or not _is_instance(hello.agent):
            self.link.close(Code.PROTOCOL, f"one hello, of protocol {PROTOCOL_VERSION}, was expected")
            return
        self._agent = hello.agent
        self.version, self.platform = hello.version[:40], hello.platform[:80]
        self.link.session.max_streams = max(1, min(MAX_STREAMS, hello.max_streams))
        job = {} if self.job is None else {"job": self.job.job}
        log.info("agent connected", owner=self.owner, peer=self.link.peer, version=self.version, **job)
        self.link.send(
            Welcome(
                version=__version__,
                owner=self.owner,
                domain=self._context.address.domain,
                heartbeat_seconds=HEARTBEAT,
                max_streams=MAX_STREAMS,
            )
        )

    def _has_turn(self, offer: Offer) -> bool:
        """Whether the agent may bind or join one more tunnel, under the number it chose. If not, it is told so."""
        taken = self.tunnels.keys() | self._asking.keys()
        if not self._binds.take(asyncio.get_running_loop().time()):
            self._note_limit("agent_binds")
            self.link.close(Code.LIMIT, f"more than {BURST_BINDS} binds at once and {BINDS_PER_SECOND} a second")
        elif not 1 <= offer.tunnel <= 0xFFFF or offer.tunnel in taken or len(taken) >= MAX_TUNNELS:
            self._refuse(offer, "too_many", f"at most {MAX_TUNNELS} tunnels on one link, each with its own number")
        else:
            return True
        return False

    def _refuse_unknown(self, bind: UnknownSettings) -> None:
        """Refuse a bind with settings that this release does not know: without them the tunnel might let in more
        visitors than its owner wants."""
        if self._has_turn(bind):
            text = f"this relay (release {__version__}) is older than the agent and does not know this setting"
            problems = [Problem(setting, text) for setting in bind.settings]
            self._refuse_settings(bind, problems, "upgrade the relay, or leave the setting out")

    def _bind(self, bind: Bind) -> None:
        if not self._has_turn(bind):
            return
        if bind.host is not None and bind.host.startswith(TCP):
            self._bind_port(bind, bind.host)
            return
        host = choose_host(bind, self._context.address)
        if isinstance(host, NameRefused):
            self._refuse(bind, "name_invalid", host.message, host.hint)
        elif refused := not_allowed(self.token, host, self._context.address):
            self._refuse_offer(bind, refused, host)
        else:
            self._bind_at(bind, (host,))

    def _bind_port(self, bind: Bind, wish: str) -> None:
        """Bind the tcp port that the agent asks for, or any free one.

        A search for a free port counts as a claim in the store even when it finds none, as it may read a whole range.
        """
        if wish == TCP and (wait := self._context.quotas.take_claim(self.owner)):
            message = f"this owner has asked for too many ports lately; one more in {wait} s"
            self._refuse_for_now(bind, "owner_binds", message)
            return
        hosts = self._context.tcp.choose(wish, self.token)
        if isinstance(hosts, OfferRefused):
            self._refuse_offer(bind, hosts, wish[:120])
        elif problems := tcp_problems(bind.policy):
            self._refuse_settings(bind, problems, "leave them out, or serve a web app: tunnel http")
        else:
            self._bind_at(bind, hosts)

    def _bind_at(self, bind: Bind, hosts: Sequence[str]) -> None:
        """Bind the first of these hosts that the agent can have.

        A host that this relay knows needs no query, so that agents can reconnect while the store cannot be reached.
        """
        context = self._context
        policy = self._policy_or_refuse(bind)
        if policy is None:
            return
        if problem := weight_problem(bind):
            self._refuse_settings(bind, [problem])
            return
        if problem := callback_problem(bind):
            self._refuse_settings(bind, [problem], "choose a name with --subdomain")
            return
        unknown = [host for host in hosts if context.registry.find(host) is None]
        for host in hosts:
            endpoint = context.registry.find(host)
            if endpoint is None or (unknown and context.registry.is_awaited(host)):
                continue
            # Another owner's port is refused without being opened.
            if endpoint.owner != self.owner or self._opens(host):
                self._claim(bind, host, policy, endpoint.generation)
                return
        if not unknown:
            self._refuse_busy(bind, hosts[0])
        elif self._may_ask(bind):
            self._asking[bind.tunnel] = bind
            context.spawn(self._ask(bind, unknown, policy))

    def _policy_or_refuse(self, bind: Bind) -> Policy | None:
        if wait := self._context.quotas.take_settings(self.owner, len(msgspec.json.encode(bind.policy))):
            message = f"this owner has sent too many settings lately; these can be read in {wait} s"
            self._refuse_for_now(bind, "owner_settings", message)
            return None
        try:
            return self._policy(bind)
        except PolicyInvalid as error:
            self._refuse_settings(bind, error.problems, "correct the flags and start again")
            return None

    def _policy(self, bind: Bind) -> Policy:
        """Compile the bind's settings to a policy, with the named providers as they are now. Raises `PolicyInvalid`."""
        context = self._context
        return compile_policy(
            bind.policy,
            upstream=bind.upstream,
            owner=self.owner,
            key=context.policy_key,
            is_local=context.address.is_local,
            resolve=context.resolve,
            refuses_issuer=context.refuses_issuer,
            run_token_sha256=run_token_digest(bind),
        )

    def _may_ask(self, bind: Bind) -> bool:
        """Whether the owner may claim one more name in the store. If not, the bind is refused."""
        context = self._context
        if context.registry.held_by(self.owner) >= MAX_OWNERS_NAMES:
            self._note_limit("owner_names")
            self._refuse(bind, "too_many", f"at most {MAX_OWNERS_NAMES} names at once for one owner")
        elif wait := context.quotas.take_claim(self.owner):
            message = f"this owner has bound too many new names lately; one more in {wait} s"
            self._refuse_for_now(bind, "owner_binds", message)
        else:
            return True
        return False

    def _refuse_for_now(self, bind: Bind, limit: str, message: str) -> None:
        self._note_limit(limit)
        self._refuse(bind, "try_later", message, "nothing to do: the agent tries again by itself")

    def _note_limit(self, limit: str) -> None:
        self._context.metrics.limited(limit)
        self._context.audit.record("rate.limited", reason=limit, owner=self.owner, peer=self.link.peer)

    async def _ask(self, bind: Bind, hosts: Sequence[str], policy: Policy | None) -> None:
        """Claim these hosts in the store, in order, until the owner gets one; then bind it, or refuse the bind.

        Args:
            hosts: Hosts that this relay does not know yet; one name, or several tcp ports.
            policy: The bind's compiled settings.
        """
        if tcp_port(hosts[0]) is None:
            await self._ask_for(bind, hosts, policy)
            return
        async with self._context.tcp.turn(self.owner):
            # Ports are chosen anew, since earlier binds of this owner may have taken these.
            chosen = self._context.tcp.choose(str(bind.host), self.token)
            if not isinstance(chosen, OfferRefused):
                await self._ask_for(bind, chosen, policy)
            elif self._asking.get(bind.tunnel) is bind:
                del self._asking[bind.tunnel]
                self._refuse_offer(bind, chosen, str(bind.host)[:120])

    async def _ask_for(self, bind: Bind, hosts: Sequence[str], policy: Policy | None) -> None:
        names = self._context.names
        affordable = await self._affordable(hosts)
        host, row, is_open = await self._first_of(bind, affordable) if affordable else (hosts[0], None, False)
        if self._asking.get(bind.tunnel) is not bind:
            if row is not None and row.owner == self.owner and is_open:
                names.given_up(host, self.owner)  # the agent has unbound it meanwhile, or its link has closed
            return
        del self._asking[bind.tunnel]
        if not affordable:
            self._note_limit("owner_names")
            self._refuse(bind, "too_many", "this owner gave up as many tcp ports lately as are kept from others")
        elif row is None:
            hint = "nothing to do: the agent tries again by itself; the relay's operator finds more in its log"
            self._refuse(bind, "try_later", f"the relay cannot look up {host} at the moment", hint)
        elif row.owner != self.owner:
            self._refuse_taken(bind, row)
        elif not is_open:
            self._refuse_busy(bind, host)
        else:
            if names_provider(bind.policy):  # the provider may have changed while the store was asked
                policy = self._policy_or_refuse(bind)
            if policy is None:
                names.given_up(host, self.owner)
            else:
                self._claim(bind, host, policy, row.generation)

    async def _first_of(self, bind: Bind, hosts: Sequence[str]) -> tuple[str, NameRow | None, bool]:
        """Claim one host after the other in the store, until the owner gets one that the relay can serve.

        Returns:
            The last host that was claimed, its row in the store (None when the store failed), and whether the relay
            listens there: it cannot where another program has the port.
        """
        host, row, is_open = hosts[0], None, False
        for host in hosts:
            row = await self._row_of(host)
            is_ours = row is not None and row.owner == self.owner
            is_wanted = self._asking.get(bind.tunnel) is bind
            is_open = is_ours and (not is_wanted or self._opens(host))
            if is_ours and not is_open:
                self._context.names.given_up(host, self.owner)
            if row is None or is_open or not is_wanted:
                break
        return host, row, is_open

    async def _affordable(self, hosts: Sequence[str]) -> Sequence[str]:
        """Return the hosts that the owner may claim: all, or after `ALWAYS` released ports only those ports themselves.

        Released ports are kept from others, so an owner who binds and unbinds without end could block the whole range.
        """
        if tcp_port(hosts[0]) is None:
            return hosts
        try:
            cooling = await self._context.names.cooling_ports(self.owner)
        except StoreError:
            return hosts  # the claim that follows meets the failing store too, and reports it
        return hosts if len(cooling) < ALWAYS else [host for host in hosts if host in cooling]

    async def _row_of(self, host: str) -> NameRow | None:
        """Claim a host in the store. Returns its row, which may be another owner's; None when the store failed."""
        try:
            return await self._context.names.claim(host, self.owner)
        except StoreError as error:
            log.warning("bind postponed, the store is away", owner=self.owner, host=host, error=error)
            return None

    def _opens(self, host: str) -> bool:
        """Whether the relay listens at this host; opens the port of a tcp host. Always true for web apps."""
        return tcp_port(host) is None or self._context.tcp.open(host)

    def _refuse_busy(self, bind: Bind, host: str) -> None:
        hint = "nothing to do: the agent tries again by itself"
        self._refuse(bind, "try_later", f"another program at the relay has the port of {host}", hint)

    def _claim(self, bind: Bind, host: str, policy: Policy, generation: int) -> None:
        context = self._context
        known = context.registry.find(host)
        # The former owner's rules are not revealed to this owner, not even as a digest.
        former = known.policy if known is not None and known.owner == self.owner else None
        tunnel = context.registry.claim(self._tunnel(bind), host, policy, generation)
        if isinstance(tunnel, Taken):
            self._refuse_held(bind, tunnel)
            return
        self.tunnels[bind.tunnel] = tunnel
        if names_provider(bind.policy):
            tunnel.recompile = lambda: self._policy(bind)
        for connection in policy.providers():
            context.prefetch(connection)
        self._record_bound(host, bind.name[:80])
        for kind, details in changes(former, policy, context.policy_key) if former is not None else ():
            context.audit.record(kind, host=host, owner=self.owner, peer=self.link.peer, **details)
        self._tell(tunnel)

    def _tunnel(self, offer: Bind | Join) -> Tunnel:
        """Make the tunnel of a bind or join, for the registry."""
        return make_tunnel(
            offer,
            now=self._context.clock(),
            link=self.link,
            peer=self.link.peer,
            agent=self._agent,
            token=self.token,
            job="" if self.job is None else self.job.job,
            session=self.id,
            mark_key=self._context.mark_key,
            end=lambda by, at: self._supersede(offer.tunnel, by, at),
            lose=lambda message, hint: self._lose(offer, message, hint),
        )

    # Edges

    def _join(self, join: Join) -> None:
        """Add a tunnel that serves the owner's edges whose backends match its labels, now and later."""
        if not self._has_turn(join):
            return
        context = self._context
        labels = labels_of(join, self.token, context.edges)
        if isinstance(labels, OfferRefused):
            self._refuse_offer(join, labels)
        elif context.edges.joined_by(self.owner) >= MAX_OWNERS_NAMES:
            self._note_limit("owner_names")
            self._refuse(join, "too_many", f"at most {MAX_OWNERS_NAMES} tunnels of one owner join edges")
        else:
            tunnel = self._tunnel(join)
            tunnel.labels = labels
            tunnel.moved = lambda hosts: self._address_updates.schedule(tunnel)
            self.tunnels[join.tunnel] = tunnel
            hosts = context.edges.join(tunnel)
            for host in hosts or ("",):
                self._record_bound(host, tunnel.name)
            self._tell(tunnel)

    def _record_bound(self, host: str, name: str) -> None:
        job = {} if self.job is None else {"job": self.job.job}
        self._context.audit.record("tunnel.bound", host=host, owner=self.owner, peer=self.link.peer, name=name, **job)

    def _tell(self, tunnel: Tunnel) -> None:
        """Send the agent the addresses that a tunnel serves."""
        if self.link.is_open:
            self.link.send(bound_of(tunnel, self._context.address, self._context.registry))

    def _note_app(self, state: AppState) -> None:
        """Mark a tunnel healthy or unhealthy, as the agent reports whether its local service accepts connections."""
        tunnel = self.tunnels.get(state.tunnel)
        if tunnel is None or not self._states.take(asyncio.get_running_loop().time()):
            return
        if not self._context.quotas.take_app_report(self.owner):
            return
        if state.reason:
            self._context.registry.mark_unhealthy(tunnel, "upstream_unreachable")
        else:
            self._context.registry.mark_healthy(tunnel)

    # Releases and refusals

    def _release(self, number: int, *, on_purpose: bool) -> None:
        tunnel = self.tunnels.pop(number, None)
        if tunnel is None:
            return
        context = self._context
        reason = "unbound" if on_purpose else "link_lost"
        if tunnel.labels:
            hosts = tunnel.hosts
            self._address_updates.forget(tunnel)
            if context.edges.leave(tunnel):
                for host in hosts or ("",):
                    context.audit.record(
                        "tunnel.unbound", reason=reason, host=host, owner=self.owner, peer=self.link.peer
                    )
            return
        (host,) = tunnel.hosts
        if context.registry.tunnel(tunnel.id) is None:
            return  # a newer claim has taken its place
        if context.registry.release(host, tunnel.claim, on_purpose=on_purpose):
            context.names.given_up(host, self.owner) if on_purpose else context.names.lost(host)
        context.audit.record("tunnel.unbound", reason=reason, host=host, owner=self.owner, peer=self.link.peer)

    def _supersede(self, number: int, by: str, at: str) -> None:
        """Tell the agent that another agent of its owner took the name of this tunnel. The registry has removed the
        tunnel already."""
        self.tunnels.pop(number, None)
        if self.link.is_open:
            self.link.send(Superseded(tunnel=number, by=by, at=at))

    def _lose(self, offer: Bind | Join, message: str, hint: str) -> None:
        """Remove a tunnel whose name now belongs to an edge or to another owner, and tell the agent why."""
        self.tunnels.pop(offer.tunnel, None)
        if self.link.is_open:
            self._refuse(offer, "name_taken", message, hint or OTHER_NAME)

    def _refuse_offer(self, offer: Bind | Join, refused: OfferRefused, host: str = "") -> None:
        self._context.audit.record(
            "name.refused", reason=refused.code, host=host, owner=self.owner, peer=self.link.peer
        )
        self._send_refusal(offer, refused)

    def _refuse_settings(self, offer: Offer, problems: Sequence[Problem], hint: str = "") -> None:
        self._send_refusal(offer, policy_invalid(problems, hint))

    def _refuse_held(self, bind: Bind, taken: Taken) -> None:
        code, message, hint = why_refused(taken)
        context = self._context
        context.audit.record("name.refused", reason=taken.why, host=taken.host, owner=self.owner, peer=self.link.peer)
        self._refuse(bind, code, message, hint)

    def _refuse_taken(self, bind: Bind, row: NameRow) -> None:
        context = self._context
        message, hint = why_taken(row, self._context.names.kept_until(row))
        context.audit.record("name.refused", reason="taken", host=row.host, owner=self.owner, peer=self.link.peer)
        self._refuse(bind, "name_taken", message, hint)

    def _refuse(self, offer: Offer, code: str, message: str, hint: str = "") -> None:
        self._send_refusal(offer, OfferRefused(code, message, hint))

    def _send_refusal(self, offer: Offer, no: OfferRefused) -> None:
        log.debug("bind refused", owner=self.owner, peer=self.link.peer, code=no.code)
        message, hint = shortened(no.message, MAX_REFUSAL), shortened(no.hint, MAX_HINT)
        self.link.send(Refused(tunnel=offer.tunnel, code=no.code, message=message, hint=hint, problems=no.problems))

    def _no_hello(self) -> None:
        self.link.close(Code.PROTOCOL, f"no hello in {HELLO_SECONDS:.0f} s")


def shortened(text: str, max_chars: int) -> str:
    """Return the text, cut and ended with an ellipsis when it is longer than `max_chars`."""
    return text if len(text) <= max_chars else text[: max_chars - 1] + "…"


def _is_instance(agent: str) -> bool:
    return len(agent) == 32 and not agent.strip("0123456789abcdef")
