"""One link in use: greet, bind, serve, end. The callbacks here are synchronous; `agent` does the waiting.

    dialled -> Hello -> Welcome -> Bind or Join, one a tunnel -> Bound, all of them -> serving -> GOAWAY or close

Tunnels come and go while the link serves: a Bind or Join for one that is added, an Unbind for one that is removed. A
tunnel that serves edges gets another Bound whenever its addresses change.

`over` completes with how the link ended, `bound` when serving began. The end of a tunnel does not end the link.
"""

import asyncio
import platform
from collections.abc import Callable, Mapping

from tunnelctl import __version__
from tunnelctl.agent.exchange import UpstreamExchange
from tunnelctl.agent.hostnames import misses
from tunnelctl.agent.outcome import (
    Failed,
    GoingAway,
    Invalid,
    LinkEnd,
    Trouble,
    TunnelEnd,
    judge_close,
    judge_refusal,
    judge_superseded,
)
from tunnelctl.agent.ready import asks_for_upstream, is_ready_request, proof, ready_head
from tunnelctl.agent.tunnel import AgentTunnel
from tunnelctl.agent.watcher import Watcher
from tunnelctl.link.link import Link
from tunnelctl.wire.errors import Code, WireError
from tunnelctl.wire.frames import TYPE_TCP, OpenHead, unpack_open
from tunnelctl.wire.limits import MAX_TUNNELS, Bucket
from tunnelctl.wire.messages import (
    PROTOCOL_VERSION,
    AppState,
    Bound,
    Hello,
    ReceivedMessage,
    Refused,
    Superseded,
    Unbind,
    Welcome,
)
from tunnelctl.wire.stream import Stream

BURST_BINDS, BINDS_PER_SECOND = MAX_TUNNELS, 2.0
"""Maximum offers of tunnels on one link: all tunnels at once, and then one every half second. Relays of any release end
a link with more. Further offers wait."""
AGAIN_SECONDS = 5.0
"""Seconds after which a tunnel that the relay cannot accept for now is offered again on the same link."""
MAX_REASON = 200
"""Maximum characters of the reason, sent to the relay, why a local service does not respond; the message has at most 1
KB."""

OnEnd = Callable[[AgentTunnel, TunnelEnd | Trouble], None]
"""Called when the relay ended or refused a tunnel. `Trouble` only occurs for a tunnel that is being added."""


class Service:
    """Handles the events of one link (see `LinkUser`) and serves the agent's tunnels on it.

    Args:
        tunnels: The agent's tunnels, by number; they come and go.
        on_end: Called when the relay ends a tunnel.

    Attributes:
        owner: Owner of the agent, as the relay reported; "" before that.
        bound: Done when the relay has answered all offers that were made when it accepted this agent.
        over: How the link ended for new visitors; after GoingAway the link stays open for exchanges in progress.
        closed: Done when the link is gone.
    """

    def __init__(
        self, instance: str, tunnels: Mapping[int, AgentTunnel], relay: str, watcher: Watcher, on_end: OnEnd
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._instance = instance
        self._tunnels = tunnels
        self._relay = relay
        self._watcher = watcher
        self._on_end = on_end
        self._link: Link | None = None
        self._is_welcomed = False
        self._relay_release = ""
        self._binds = Bucket(BURST_BINDS, BINDS_PER_SECOND)
        self._offered: set[int] = set()
        self._unanswered: set[int] = set()
        self._highest = 0
        self.owner = ""
        self.bound: asyncio.Future[None] = self._loop.create_future()
        self.over: asyncio.Future[LinkEnd] = self._loop.create_future()
        self.closed: asyncio.Future[None] = self._loop.create_future()

    @property
    def is_linked(self) -> bool:
        """Whether a link was opened, so that `closed` will be set."""
        return self._link is not None

    def begin(self, link: Link) -> None:
        """Send the greeting on a link that was just opened."""
        self._link = link
        link.send(
            Hello(
                agent=self._instance, version=__version__, platform=f"{platform.system()} {platform.machine()}".lower()
            )
        )

    def offer(self, tunnel: AgentTunnel) -> None:
        """Offer a tunnel to the relay: now, or later when too many were offered.

        Without a link, the tunnel is offered on the next one.
        """
        link, number = self._link, tunnel.number
        if link is None or not link.is_open or not self._is_welcomed or self.over.done() or tunnel.end is not None:
            return
        if not self._binds.take(self._loop.time()):
            self._loop.call_later(1 / BINDS_PER_SECOND, self.offer, tunnel)
            return
        tunnel.note_unbound()
        try:
            link.send(tunnel.claim())
        except WireError as error:
            self._on_end(tunnel, Invalid(f"its settings are too large for one message: {error.detail}"))
            return
        self._offered.add(number)
        self._unanswered.add(number)
        self._highest = max(self._highest, number)

    def withdraw(self, tunnel: AgentTunnel) -> None:
        """Release a tunnel's name."""
        if tunnel.number in self._offered:
            self._forget(tunnel)
            if self._link is not None and self._link.is_open:
                self._link.send(Unbind(tunnel=tunnel.number))
            self._note_answered()

    def drain(self) -> None:
        """Accept no more visitors. The names stay reserved: the relay lets visitors wait or retry until `unbind`."""
        if self._link is not None and self._link.is_open:
            self._link.go_away(Code.NO_ERROR, "the agent stops")

    def report(self, tunnel: AgentTunnel) -> None:
        """Tell the relay whether a tunnel's local service accepts connections; older relays skip the message."""
        is_bound = tunnel.number in self._offered and tunnel.number not in self._unanswered
        if self._link is not None and self._link.is_open and is_bound:
            state = AppState(tunnel=tunnel.number, reason=(tunnel.upstream.problem or "")[:MAX_REASON])
            self._link.send(state, is_optional=True)

    def unbind(self) -> None:
        """Release all names."""
        if self._link is not None and self._link.is_open:
            for number in sorted(self._offered):
                self._link.send(Unbind(tunnel=number))

    def close(self) -> None:
        """Close the link and abort its exchanges."""
        if self._link is not None:
            self._link.close(Code.NO_ERROR, "the agent stops")

    # LinkUser

    def on_message(self, message: ReceivedMessage) -> None:
        """Handle a control message of the relay."""
        match message:
            case Welcome():
                self._welcome(message)
            case Bound() | Refused() | Superseded() if 0 < message.tunnel <= self._highest:
                tunnel = self._tunnels.get(message.tunnel) if message.tunnel in self._offered else None
                if tunnel is not None:  # otherwise the message has crossed our Unbind
                    self._note_answer(tunnel, message)
            case _:
                self._break("a message that does not belong here")

    def on_opened(self, stream: Stream, payload: bytes, fin: bool) -> None:
        """Serve a visitor's request."""
        assert self._link is not None
        opened = unpack_open(payload)
        tunnel = self._tunnels.get(opened.tunnel)
        if tunnel is None:
            self._link.reset(stream, Code.REFUSED, "no such tunnel here")
        elif is_ready_request(opened.head):
            self._answer_ready(self._link, stream, tunnel, opened)
        elif (opened.type == TYPE_TCP) is not tunnel.config.is_tcp:
            self._link.reset(stream, Code.REFUSED, "this tunnel serves something else")
        else:
            tunnel.serve(self._link, stream, opened, fin)

    def on_about(self, stream: Stream, payload: bytes) -> None:
        """Pass the relay's description of a stream's visitor to the exchange."""
        if isinstance(stream.owner, UpstreamExchange):  # not of a request that was answered here
            stream.owner.on_about(payload)

    def on_pong(self, rtt: float) -> None:
        """Report the measured round trip."""
        self._watcher.latency(rtt)

    def on_go_away(self, code: Code, reason: str) -> None:
        """Handle that the relay drains, or ends this agent; in the latter case the link is closed next."""
        if code is Code.NO_ERROR:
            self._finish(GoingAway(reason))
        else:
            self._finish(judge_close(code, reason, relay_release=self._relay_release))

    def on_closed(self, code: Code, reason: str) -> None:
        """Handle the end of the link."""
        self._finish(judge_close(code, reason))
        if not self.closed.done():
            self.closed.set_result(None)

    # The inside

    def _welcome(self, message: Welcome) -> None:
        if message.protocol != PROTOCOL_VERSION:
            versions = f"{message.protocol} (release {message.version}), this agent {PROTOCOL_VERSION}"
            self._finish(Failed(f"the relay speaks protocol {versions}", "upgrade the older of the two"))
            return
        self.owner = message.owner
        self._relay_release = message.version
        self._is_welcomed = True
        self._watcher.connected(self._relay, message.owner)
        for tunnel in sorted(self._tunnels.values(), key=lambda one: one.number):
            self.offer(tunnel)
        self._note_answered()

    def _note_answer(self, tunnel: AgentTunnel, message: Bound | Refused | Superseded) -> None:
        match message:
            case Bound():
                self._note_bound(tunnel, message)
            case Refused():
                self._note_refused(tunnel, judge_refusal(message, tunnel.config.names))
            case Superseded():
                self._forget(tunnel)
                self._on_end(tunnel, judge_superseded(message, tunnel.host))
        self._note_answered()

    def _note_bound(self, tunnel: AgentTunnel, message: Bound) -> None:
        config = tunnel.config
        if problem := misses(config.scheme, config.port, message.url):
            self.withdraw(tunnel)
            end = Invalid(f"--url: {problem}", "ask for the host alone, or for what the relay has")
            self._on_end(tunnel, end)
            return
        is_news = tunnel.number in self._unanswered
        self._unanswered.discard(tunnel.number)
        tunnel.note_bound(message)
        if is_news and tunnel.upstream.problem:
            self.report(tunnel)

    def _note_refused(self, tunnel: AgentTunnel, end: TunnelEnd | Trouble) -> None:
        self._forget(tunnel)
        if not isinstance(end, Trouble) or tunnel.is_being_added:
            self._on_end(tunnel, end)
        elif len(self._tunnels) == 1:
            self._finish(end)
        else:  # the other tunnels need not wait for this one
            self._watcher.unready(tunnel.host, end.reason)
            self._loop.call_later(AGAIN_SECONDS, self.offer, tunnel)

    def _forget(self, tunnel: AgentTunnel) -> None:
        """Mark the tunnel as not bound on this link."""
        self._offered.discard(tunnel.number)
        self._unanswered.discard(tunnel.number)

    def _note_answered(self) -> None:
        if self._is_welcomed and not self._unanswered and not self.bound.done():
            self.bound.set_result(None)

    def _answer_ready(self, link: Link, stream: Stream, tunnel: AgentTunnel, opened: OpenHead) -> None:
        body = proof(self._instance)

        def answer(is_there: bool) -> None:
            if link.is_open and not stream.is_closed:
                link.send_head(stream, ready_head(len(body), 200 if is_there else 503))
                link.send_data(stream, body, fin=True)

        if asks_for_upstream(opened.head):
            tunnel.upstream.try_out(answer)
        else:
            answer(True)

    def _break(self, detail: str) -> None:
        assert self._link is not None
        self._link.close(Code.PROTOCOL, detail)

    def _finish(self, end: LinkEnd) -> None:
        """Set how the link ended. Only the first reason counts; later ones are its consequences."""
        if not self.over.done():
            self.over.set_result(end)
