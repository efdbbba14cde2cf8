"""One link in use: greet, bind, serve, end. The callbacks here are synchronous; who waits is `agent`.

    dialled -> Hello -> Welcome -> Bind or Join, one a tunnel -> Bound, all of them -> serving -> GOAWAY or close

A tunnel that joined edges is told again with a Bound whenever it serves others than before.

`over` tells how it ended, and `bound` when serving began. A refusal ends the link before it was ever bound.
"""

import asyncio
import platform
from collections.abc import Mapping

from tunnelctl import __version__
from tunnelctl.agent.config import TunnelConfig
from tunnelctl.agent.exchange import UpstreamExchange
from tunnelctl.agent.hostnames import misses
from tunnelctl.agent.outcome import (
    AllEnded,
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
from tunnelctl.agent.upstream import Upstream
from tunnelctl.agent.watcher import Watcher
from tunnelctl.link.link import Link
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import TYPE_TCP, TYPE_UPGRADE, OpenHead, unpack_open
from tunnelctl.wire.messages import (
    PROTOCOL_VERSION,
    AppState,
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

MAX_ADDRESSES = 100
"""Of the edges that one tunnel serves: so many are proven and told about. The others are served all the same."""


AGAIN_SECONDS = 5.0
"""After which a tunnel that the relay cannot take for now is offered again, beside others on the same link."""
MAX_REASON = 200
"""Characters of why a local service does not answer, as the relay is told: a message of at most 1 KB."""


class Offer:
    """A tunnel over all of its links.

    Attributes:
        number: Its number within each link.
        config: What was asked for.
        upstream: The local service; its pool outlives links.
        bound: What the relay last gave, None before. Its host is asked for from then on: a name stays the same.
        moved: Set when the addresses it serves have changed.
        told: The addresses that were told about last.
        end: Why it is over, None as long as it is offered.
    """

    __slots__ = ("bound", "config", "end", "moved", "number", "told", "upstream")

    def __init__(self, number: int, config: TunnelConfig, upstream: Upstream) -> None:
        self.number = number
        self.config = config
        self.upstream = upstream
        self.bound: Bound | None = None
        self.moved = asyncio.Event()
        self.told: frozenset[str] = frozenset()
        self.end: TunnelEnd | None = None

    def claim(self) -> Bind | Join:
        """The message that offers it."""
        config = self.config
        if config.is_joined:
            return Join(
                tunnel=self.number,
                name=config.name,
                upstream=config.upstream.url,
                labels=config.labels,
                edge=config.edge,
                weight=config.weight,
                metadata=config.metadata,
            )
        return Bind(
            tunnel=self.number,
            name=config.name,
            upstream=config.upstream.url,
            subdomain=config.subdomain if self.bound is None else None,
            host=config.host if self.bound is None else self.bound.host,
            policy=config.policy,
            pooling=config.pooling,
            weight=config.weight,
            metadata=config.metadata,
        )

    def note(self, bound: Bound) -> None:
        """The relay's answer, or later news."""
        self.bound = bound
        self.moved.set()

    @property
    def urls(self) -> tuple[str, ...]:
        """The addresses that visitors come by, as the relay last said."""
        if self.bound is None:
            return ()
        return self.bound.urls[:MAX_ADDRESSES] if self.config.is_joined else (self.bound.url,)

    @property
    def host(self) -> str:
        """The public host, or what is known of it, for people."""
        if self.bound is not None and self.bound.host:
            return self.bound.host
        return self.config.host or self.config.subdomain or self.config.name


class Service:
    """The user of one link (see `LinkUser`).

    Attributes:
        owner: Whose agent the relay takes this for; "" before it said so.
        bound: Done when the relay has answered every offer, and there is something to serve or nothing was offered.
        over: How the link ended for us; GoingAway leaves it open for the exchanges that are in flight.
        closed: Done when the link is gone.
        in_flight: Exchanges that a visitor waits for. Upgraded connections are not counted: they have no end to wait
            for.
        idle: Set while `in_flight` is 0.
    """

    def __init__(self, instance: str, offers: Mapping[int, Offer], relay: str, watcher: Watcher) -> None:
        loop = asyncio.get_running_loop()
        self._instance = instance
        self._offers = offers
        self._waiting = {number for number, offer in offers.items() if offer.end is None}
        self._relay = relay
        self._watcher = watcher
        self._link: Link | None = None
        self.owner = ""
        self.bound: asyncio.Future[None] = loop.create_future()
        self.over: asyncio.Future[LinkEnd] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.in_flight = 0
        self.idle = asyncio.Event()
        self.idle.set()

    @property
    def is_linked(self) -> bool:
        """Whether there ever was a link, so that `closed` will come."""
        return self._link is not None

    def begin(self, link: Link) -> None:
        """Greet the relay on a link that was just dialled."""
        self._link = link
        link.send(
            Hello(
                agent=self._instance, version=__version__, platform=f"{platform.system()} {platform.machine()}".lower()
            )
        )

    def drain(self) -> None:
        """Take no more visitors. The names stay ours: the relay has visitors wait, or try again, until `unbind`."""
        if self._link is not None and self._link.is_open:
            self._link.go_away(Code.NO_ERROR, "the agent stops")

    def report(self, offer: Offer) -> None:
        """Tell the relay whether a tunnel's local service takes connections; an older relay skips the message."""
        is_bound = offer.end is None and offer.number not in self._waiting
        if self._link is not None and self._link.is_open and is_bound:
            state = AppState(tunnel=offer.number, reason=(offer.upstream.problem or "")[:MAX_REASON])
            self._link.send(state, is_optional=True)

    def unbind(self) -> None:
        """Give every name up, for good."""
        if self._link is not None and self._link.is_open:
            for number, offer in self._offers.items():
                if number not in self._waiting and offer.end is None:
                    self._link.send(Unbind(tunnel=number))

    def close(self) -> None:
        """End the link, exchanges and all."""
        if self._link is not None:
            self._link.close(Code.NO_ERROR, "the agent stops")

    # LinkUser

    def on_message(self, message: Message) -> None:
        """A control message of the relay's."""
        match message:
            case Welcome():
                self._welcome(message)
            case Bound(tunnel=number) if number in self._offers:
                self._note_bound(self._offers[number], message)
            case Refused(tunnel=number) if number in self._offers:
                offer = self._offers[number]
                self._refused(offer, judge_refusal(message, offer.config.names))
            case Superseded(tunnel=number) if number in self._offers:
                offer = self._offers[number]
                self._end_one(offer, judge_superseded(message, offer.host))
            case _:
                self._break("a message that does not belong here")

    def on_opened(self, stream: Stream, payload: bytes, fin: bool) -> None:
        """A visitor's request."""
        assert self._link is not None
        opened = unpack_open(payload)
        offer = self._offers.get(opened.tunnel)
        if offer is None or opened.type == TYPE_TCP:
            self._link.reset(stream, Code.REFUSED, "no such tunnel here")
        elif is_ready_request(opened.head):
            self._answer_ready(self._link, stream, offer, opened)
        else:
            self._serve(self._link, offer, stream, opened, fin)

    def on_pong(self, rtt: float) -> None:
        """The heartbeat came back."""
        self._watcher.latency(rtt)

    def on_go_away(self, code: Code, reason: str) -> None:
        """The relay drains, or throws us out, in which case the link's end follows at once."""
        if code is Code.NO_ERROR:
            self._finish(GoingAway(reason))
        else:
            self._finish(judge_close(code, reason))

    def on_closed(self, code: Code, reason: str) -> None:
        """The link is gone."""
        self._finish(judge_close(code, reason))
        if not self.closed.done():
            self.closed.set_result(None)

    # The inside

    def _welcome(self, message: Welcome) -> None:
        assert self._link is not None
        if message.protocol != PROTOCOL_VERSION:
            versions = f"{message.protocol} (release {message.version}), this agent {PROTOCOL_VERSION}"
            self._finish(Failed(f"the relay speaks protocol {versions}", "upgrade the older of the two"))
            return
        self.owner = message.owner
        self._watcher.connected(self._relay, message.owner)
        for number in sorted(self._waiting):
            self._link.send(self._offers[number].claim())
        self._note_answered()

    def _note_bound(self, offer: Offer, message: Bound) -> None:
        if offer.end is not None:
            return
        assert self._link is not None
        config = offer.config
        if problem := misses(config.scheme, config.port, message.url):
            self._link.send(Unbind(tunnel=offer.number))
            self._end_one(offer, Invalid(f"--url: {problem}", "ask for the host alone, or for what the relay has"))
            return
        is_news = offer.number in self._waiting
        offer.note(message)
        self._waiting.discard(offer.number)
        if is_news and offer.upstream.problem:
            self.report(offer)
        self._note_answered()

    def _note_answered(self) -> None:
        if not self._waiting and not self.bound.done():
            self.bound.set_result(None)

    def _refused(self, offer: Offer, end: TunnelEnd | Trouble) -> None:
        if not isinstance(end, Trouble):
            self._end_one(offer, end)
        elif len(self._offers) == 1:
            self._finish(end)
        else:  # the others need not wait for what this one has to wait for
            self._watcher.unready(offer.host, end.reason)
            asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._offer_again, offer)
            self._waiting.discard(offer.number)
            self._note_answered()

    def _offer_again(self, offer: Offer) -> None:
        if self._link is not None and self._link.is_open and offer.end is None and not self.over.done():
            self._waiting.add(offer.number)
            self._link.send(offer.claim())

    def _end_one(self, offer: Offer, end: TunnelEnd) -> None:
        """A tunnel is over. So is the link when it was the last; else the others stay as they are."""
        offer.end = end
        offer.moved.set()
        self._waiting.discard(offer.number)
        if len(self._offers) == 1:
            self._finish(end)
            return
        self._watcher.ended(offer.config.name, end.message)
        ends = tuple((each.config.name, each.end) for each in self._offers.values() if each.end is not None)
        if len(ends) == len(self._offers):
            self._finish(AllEnded(ends))
        else:
            self._note_answered()

    def _serve(self, link: Link, offer: Offer, stream: Stream, opened: OpenHead, fin: bool) -> None:
        self._watcher.began()
        if opened.type != TYPE_UPGRADE:
            self.in_flight += 1
            self.idle.clear()
        offer.upstream.serve(link, stream, opened, fin, self._on_done)

    def _on_done(self, exchange: UpstreamExchange) -> None:
        if not exchange.is_upgrade:
            self.in_flight -= 1
            if not self.in_flight:
                self.idle.set()
        self._watcher.exchange(exchange)

    def _answer_ready(self, link: Link, stream: Stream, offer: Offer, opened: OpenHead) -> None:
        body = proof(self._instance)

        def answer(is_there: bool) -> None:
            if link.is_open and not stream.is_closed:
                link.send_head(stream, ready_head(len(body), 200 if is_there else 503))
                link.send_data(stream, body, fin=True)

        if asks_for_upstream(opened.head):
            offer.upstream.try_out(answer)
        else:
            answer(True)

    def _break(self, detail: str) -> None:
        assert self._link is not None
        self._link.close(Code.PROTOCOL, detail)

    def _finish(self, end: LinkEnd) -> None:
        """The first reason is the true one; what follows are its consequences."""
        if not self.over.done():
            self.over.set_result(end)
