"""Tunnels against a relay that does anything in any order: added, removed, refused, taken over, link lost and back."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.agent.fakes import WELCOME, Diary, FakeLink, FakeUpstream, bound, make_agent
from tunnelctl.agent.address import UpstreamAddress
from tunnelctl.agent.config import TunnelConfig
from tunnelctl.agent.errors import AddError, DuplicateName
from tunnelctl.agent.status import SessionState
from tunnelctl.agent.tunnel import TunnelState
from tunnelctl.link.dial import DialFailed
from tunnelctl.wire.errors import Code
from tunnelctl.wire.messages import Bind, Hello, Message, Refused, Superseded, Unbind

NAMES = st.sampled_from(["a", "b", "c", "d"])
ANSWERS = st.sampled_from(["bound", "bound", "bound", "name_taken", "try_later", "silent"])


@dataclass
class RelaySide:
    """What the relay holds on one link, and what it would end the link for.

    Attributes:
        asked: Offers without an answer, by number.
        served: Names by number.
        mistakes: What no relay takes.
    """

    link: FakeLink
    asked: dict[int, Bind] = field(default_factory=dict)
    served: dict[int, str] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)
    mistakes: list[str] = field(default_factory=list)

    def hear(self, message: Message, answers: dict[str, str]) -> None:
        match message:
            case Hello():
                self.say(WELCOME)
            case Bind(tunnel=number, name=name):
                if number in self.asked or number in self.served:
                    self.mistakes.append(f"{number} is in use")
                self.used.add(number)
                self.asked[number] = message
                self.answer(number, answers.get(name, "bound"))
            case Unbind(tunnel=number):
                if number not in self.used:
                    self.mistakes.append(f"{number} was never offered")
                self.asked.pop(number, None)
                self.served.pop(number, None)

    def answer(self, number: int, answer: str) -> None:
        if answer == "silent":
            return
        bind = self.asked.pop(number)
        if answer == "bound":
            self.served[number] = bind.name
            self.say(bound(bind))
        else:
            self.say(Refused(tunnel=number, code=answer, message="no"))

    def say(self, message: Message) -> None:
        asyncio.get_running_loop().call_soon(self.link.user.on_message, message)


class OddRelay:
    """A relay that is up or away, and answers each name as it was told to."""

    def __init__(self) -> None:
        self.is_up = True
        self.answers: dict[str, str] = {}
        self.sides: list[RelaySide] = []

    async def dial(self, url: str, *, user: Any, **way: Any) -> Any:
        await asyncio.sleep(0)
        if not self.is_up:
            raise DialFailed("unreachable", "connection refused")
        link = FakeLink(user)
        side = RelaySide(link)
        link.on_send = lambda message: side.hear(message, self.answers)
        self.sides.append(side)
        return link

    @property
    def side(self) -> RelaySide | None:
        """That of the link which stands, None without one."""
        return self.sides[-1] if self.sides and self.sides[-1].link.is_open else None


class TunnelsOfAnAgent(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.relay = OddRelay()
        self.adding: dict[str, asyncio.Task[Any]] = {}
        self.ours: set[str] = set()
        """Names that were added, and neither removed nor ended by the relay."""
        self.in_loop(self.begin())

    async def begin(self) -> None:
        # What the relay never answers is given up by the link's loss, not by a clock.
        self.agent = make_agent(
            self.relay, Diary(), tunnels=(), upstream=FakeUpstream(), greeting_seconds=1e6, random=lambda: 0.0
        )
        self.agent.start()

    def in_loop(self, *steps: Any) -> None:
        async def all_of_them() -> None:
            for step in steps:
                await step
            for _ in range(40):  # every step of the agent and of this relay is one turn of the loop
                await asyncio.sleep(0)

        self.runner.run(all_of_them())
        for name, task in [*self.adding.items()]:
            if task.done():
                del self.adding[name]
                if task.cancelled() or isinstance(task.exception(), AddError):
                    self.ours.discard(name)
                else:
                    assert task.result().name == name

    async def do(self, action: Any) -> None:
        action()

    @rule(name=NAMES, answer=ANSWERS)
    def add(self, name: str, answer: str) -> None:
        had, was_online = name in self.agent.tunnels, self.agent.status.state is SessionState.ONLINE
        self.relay.answers[name] = answer
        config = TunnelConfig(upstream=UpstreamAddress("http", "127.0.0.1", 9), name=name, subdomain=name)

        async def start() -> None:
            task = asyncio.create_task(self.agent.add(config))
            await asyncio.sleep(0)
            if had or not was_online:
                error = task.exception()
                assert isinstance(error, DuplicateName if had and was_online else AddError)
            else:
                self.ours.add(name)
                self.adding[name] = task

        self.in_loop(start())

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        if name in self.agent.tunnels:
            self.ours.discard(name)
            self.in_loop(self.do(lambda: self.agent.remove(name)))

    @precondition(lambda self: self.adding)
    @rule()
    def cancel_an_add(self) -> None:
        name = next(iter(self.adding))
        self.in_loop(self.do(self.adding[name].cancel))

    @precondition(lambda self: self.relay.side and self.relay.side.asked)
    @rule(answer=st.sampled_from(["bound", "name_taken"]))
    def answer_late(self, answer: str) -> None:
        side = self.relay.side
        assert side is not None
        number, bind = next(iter(side.asked.items()))
        if answer != "bound":
            self.ours.discard(bind.name)
        self.in_loop(self.do(lambda: side.answer(number, answer)))

    @precondition(lambda self: self.relay.side and self.relay.side.served)
    @rule(taken_over=st.booleans())
    def end_one(self, taken_over: bool) -> None:
        side = self.relay.side
        assert side is not None
        number = next(iter(side.served))
        self.ours.discard(side.served.pop(number))
        over = Superseded(tunnel=number, by="192.0.2.7", at="2026-01-01T00:00:00Z")
        self.in_loop(self.do(lambda: side.say(over if taken_over else Refused(tunnel=number, code="x", message="no"))))

    @precondition(lambda self: self.relay.side and self.relay.side.used)
    @rule()
    def say_again_what_crossed_an_unbind(self) -> None:
        side = self.relay.side
        assert side is not None
        gone = side.used - side.asked.keys() - side.served.keys()
        for number in gone:
            self.in_loop(self.do(lambda number=number: side.say(Refused(tunnel=number, code="x", message="late"))))

    @rule(comes_back=st.booleans(), refuses=st.sets(NAMES, max_size=2))
    def lose_the_link(self, comes_back: bool, refuses: set[str]) -> None:
        """The names in `refuses` belong to another owner when the link comes back."""
        self.relay.is_up = comes_back
        self.relay.answers = dict.fromkeys(refuses, "name_taken")
        self.in_loop(self.do(lambda: self.relay.side and self.relay.side.link.drop()))
        if comes_back:
            self.ours -= refuses

    @precondition(lambda self: self.relay.side)
    @rule()
    def relay_goes_away(self) -> None:
        side = self.relay.side
        assert side is not None
        self.relay.answers = {}
        self.in_loop(self.do(lambda: side.link.user.on_go_away(Code.NO_ERROR, "the relay stops")))

    @precondition(lambda self: not self.relay.is_up)
    @rule()
    def bring_the_relay_back(self) -> None:
        self.ours -= {name for name, answer in self.relay.answers.items() if answer == "name_taken"}
        self.relay.is_up = True
        self.in_loop()

    @invariant()
    def the_agent_goes_on_and_breaks_no_rule(self) -> None:
        assert self.agent.outcome is None
        assert not any(side.mistakes for side in self.relay.sides)

    @invariant()
    def the_table_holds_what_was_added_and_has_not_ended(self) -> None:
        assert self.agent.tunnels.keys() == self.ours
        assert {tunnel.end for tunnel in self.agent.tunnels.values()} <= {None}

    @invariant()
    def both_ends_agree_on_what_is_served(self) -> None:
        states = {name: tunnel.state for name, tunnel in self.agent.tunnels.items()}
        served = {name for name, state in states.items() if state is TunnelState.ONLINE}
        side = self.relay.side
        assert served == set(side.served.values() if side else ())

    def teardown(self) -> None:
        async def stop() -> None:
            self.agent.stop()
            self.agent.stop()
            await self.agent.wait_ended()

        self.in_loop(stop())
        assert not self.agent.tunnels
        assert not self.adding
        self.runner.close()


TestTunnelsOfAnAgent = TunnelsOfAnAgent.TestCase
TestTunnelsOfAnAgent.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
