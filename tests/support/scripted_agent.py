"""An agent that sends on its link what a test orders, valid or not, as a hostile agent could."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from secrets import token_hex

from tests.support.waiting import PATIENCE
from tunnelctl.link.dial import dial
from tunnelctl.link.link import Link
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import OpenHead, pack_head, unpack_open
from tunnelctl.wire.messages import (
    Bind,
    Bound,
    Hello,
    Join,
    Message,
    PolicySpec,
    ReceivedMessage,
    Refused,
    Superseded,
    Unbind,
    Welcome,
)
from tunnelctl.wire.stream import Stream

NEVER = 1e6
"""Seconds between the link's own PINGs after the first: so long that `round_trip` has to count only its own PINGs."""


class Changing:
    """Base of objects on whose changes a test can wait."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Wake all that wait in `until`, as the object has changed."""
        self._changed.set()

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until `holds()` is true, which is checked after every change."""
        async with asyncio.timeout(PATIENCE):
            while not holds():
                self._changed.clear()
                await self._changed.wait()


class Asked(Changing):
    """A request that came over the link, which the test answers itself.

    Attributes:
        body: The part of the body that has come; credit for it is given at once, unless `keeps` is set.
        trailers: The trailer fields; None before the end of the request.
        reset: The code with which the relay has reset the stream; None if it has not.
        about: Payload of the relay's message about the visitor; None when there was none.
    """

    def __init__(self, link: Link, stream: Stream, opened: OpenHead, fin: bool) -> None:
        super().__init__()
        self.link = link
        self.stream = stream
        self.opened = opened
        self.body = bytearray()
        self.keeps = False
        self.is_complete = fin
        self.trailers: bytes | None = b"" if fin else None
        self.reset: Code | None = None
        self.about: bytes | None = None
        self.writables = 0

    @property
    def line(self) -> bytes:
        """The first line of the request's head."""
        return self.opened.head.partition(b"\r\n")[0]

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """The request's header fields, with names in lower case."""
        lines = self.opened.head.split(b"\r\n")[1:-1]
        return [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]

    def get(self, name: bytes) -> bytes | None:
        """Return the only value of a header field; None without the field."""
        values = [value for known, value in self.fields if known == name]
        assert len(values) <= 1, values
        return values[0] if values else None

    # Frames that the agent sends

    def head(self, status: int = 200, fields: bytes = b"", fin: bool = False) -> None:
        """Send a HEAD frame with the response's status and fields."""
        self.link.send_head(self.stream, pack_head(status, fields), fin)

    def data(self, data: bytes, fin: bool = False) -> None:
        """Send a DATA frame with a part of the response's body."""
        self.link.send_data(self.stream, data, fin)

    def end(self, trailers: bytes = b"") -> None:
        """Send an END frame, which ends the response."""
        self.link.end(self.stream, trailers)

    def break_off(self, code: Code, reason: str = "") -> None:
        """Send a RESET frame, which breaks the response off."""
        self.link.reset(self.stream, code, reason)

    def answer(self, body: bytes = b"ok", status: int = 200, fields: bytes = b"") -> None:
        """Send a complete response."""
        self.head(status, fields + b"Content-Length: %d\r\n" % len(body), fin=not body)
        if body:
            self.data(body, fin=True)

    # Callbacks of the link

    def on_head(self, payload: bytes, fin: bool) -> None:
        raise AssertionError("the relay never sends HEAD")

    def on_data(self, data: bytes | memoryview, fin: bool) -> None:
        self.body += data
        if not self.keeps:
            self.link.consumed(self.stream, len(data))
        if fin:
            self.on_end(b"")
        self.changed()

    def on_end(self, trailers: bytes) -> None:
        self.is_complete = True
        self.trailers = trailers
        self.changed()

    def on_reset(self, code: Code, reason: str) -> None:
        self.reset = code
        self.changed()

    def on_writable(self) -> None:
        self.writables += 1
        self.changed()


class ScriptedAgent(Changing):
    """The agent's end of one link, which sends what a test orders.

    Attributes:
        asked: The requests, in the order of arrival.
        said: The relay's control messages.
        answers: Called with each new request; by default requests wait for `next`.
    """

    def __init__(self, instance: str = "") -> None:
        super().__init__()
        self.instance = instance or token_hex(16)
        self.link: Link
        self.asked: list[Asked] = []
        self.said: list[ReceivedMessage] = []
        self.closed: tuple[Code, str] | None = None
        self.went_away: Code | None = None
        self.answers: Callable[[Asked], None] = lambda asked: None
        self._taken = 0
        self._numbers = 0
        self._named: dict[str, int] = {}
        self._pings, self._pongs = 1, 0  # a link begins with one PING

    async def connect(
        self,
        port: int,
        *,
        token: str | None = None,
        url: str = "",
        ca_file: str | None = None,
        version: str = "test",
        platform: str = "",
    ) -> None:
        """Open the link and send the hello."""
        url = url or f"http://127.0.0.1:{port}"
        self.link = await dial(url, user=self, token=token, ca_file=ca_file, timeout=PATIENCE, heartbeat=NEVER)
        self.link.send(Hello(agent=self.instance, version=version, platform=platform))
        await self.until(lambda: self._said(Welcome))

    async def bind(self, subdomain: str | None = None, *, policy: PolicySpec | None = None, **where: object) -> Message:
        """Bind a name, after unbinding a tunnel of this agent that has it. Returns `Bound` or `Refused`."""
        if subdomain and not where.get("pooling") and subdomain in self._named:
            self.link.send(Unbind(tunnel=self._named[subdomain]))
        self._numbers += 1
        if subdomain:
            self._named[subdomain] = self._numbers
        bind = Bind(
            tunnel=self._numbers,
            name="test",
            upstream="http://localhost:3000",
            subdomain=subdomain,
            policy=policy or PolicySpec(),
            **where,  # type: ignore[arg-type]  # fields of any kind
        )
        return await self.say(bind)

    async def join(self, *labels: tuple[str, str], edge: str = "", weight: int = 1) -> Message:
        """Join edges with a tunnel that has these labels. Returns `Bound` or `Refused`."""
        self._numbers += 1
        return await self.say(
            Join(
                tunnel=self._numbers,
                name="test",
                upstream="http://localhost:3000",
                labels=labels,
                edge=edge,
                weight=weight,
            )
        )

    async def say(self, bind: Bind | Join) -> Message:
        """Send a bind or a join. Returns the relay's reply."""
        count = len(self.said)
        self.link.send(bind)
        await self.until(lambda: len(self.said) > count)
        answer = self.said[count]
        assert isinstance(answer, Bound | Refused)
        return answer

    async def next(self) -> Asked:
        """Wait for the next request that was not returned yet."""
        await self.until(lambda: len(self.asked) > self._taken)
        self._taken += 1
        return self.asked[self._taken - 1]

    async def round_trip(self) -> None:
        """Wait until all that the relay had sent before has arrived, by a PING and its PONG."""
        self.link.ping()
        self._pings += 1
        mine = self._pings
        await self.until(lambda: self._pongs >= mine)

    async def close(self) -> None:
        """Close the link with a GOAWAY."""
        self.link.close(Code.NO_ERROR, "bye")
        await self.until(lambda: self.closed)

    async def vanish(self) -> None:
        """Cut the link's connection without a farewell, as a crash would."""
        self.link.transport.abort()
        await self.until(lambda: self.closed)

    @property
    def superseded(self) -> Superseded | None:
        """The relay's message that another agent took the name; None if there was none."""
        return next((message for message in self.said if isinstance(message, Superseded)), None)

    def _said(self, kind: type) -> bool:
        return self.closed is not None or any(isinstance(message, kind) for message in self.said)

    # Callbacks of the link (`LinkUser`)

    def on_opened(self, stream: Stream, payload: bytes, fin: bool) -> None:
        asked = Asked(self.link, stream, unpack_open(payload), fin)
        stream.owner = asked
        self.asked.append(asked)
        self.answers(asked)
        self.changed()

    def on_about(self, stream: Stream, payload: bytes) -> None:
        stream.owner.about = payload
        self.changed()

    def on_message(self, message: ReceivedMessage) -> None:
        self.said.append(message)
        self.changed()

    def on_pong(self, rtt: float) -> None:
        self._pongs += 1
        self.changed()

    def on_go_away(self, code: Code, reason: str) -> None:
        self.went_away = code
        self.changed()

    def on_closed(self, code: Code, reason: str) -> None:
        self.closed = code, reason
        self.changed()


@asynccontextmanager
async def scripted_agent(
    port: int,
    subdomain: str = "demo",
    *,
    policy: PolicySpec | None = None,
    instance: str = "",
    token: str | None = None,
) -> AsyncIterator[ScriptedAgent]:
    """Context manager: a connected `ScriptedAgent` that has bound one name."""
    agent = ScriptedAgent(instance)
    await agent.connect(port, token=token)
    try:
        bound = await agent.bind(subdomain, policy=policy)
        assert isinstance(bound, Bound), bound
        yield agent
    finally:
        if agent.closed is None:
            await agent.close()
