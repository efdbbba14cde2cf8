"""Tunnels for the registry that have no agent and no real link."""

from collections.abc import Callable
from itertools import count
from typing import Any

from tunnelrelay.registry.tunnel import Tunnel

_numbers = count(1)


class FakeLink:
    """The part of a link that the registry uses."""

    def __init__(self, *, streams: int = 0, can_open: bool = True) -> None:
        self.stream_count = streams
        self.can_open = can_open


def fake_tunnel(
    owner: str = "ann",
    agent: str = "a1",
    *,
    link: FakeLink | None = None,
    end: Callable[[str, str], None] = lambda by, at: None,
    lose: Callable[[str, str], None] = lambda message, hint: None,
    **more: Any,
) -> Tunnel:
    """Return a tunnel of an agent, with a new number unless one is given."""
    number = more.pop("number", None) or next(_numbers)
    return Tunnel(
        id=f"tn_{next(_numbers)}",
        link=link or FakeLink(),  # type: ignore[arg-type]  # a fake
        number=number,
        owner=owner,
        agent=agent,
        name="web",
        peer=f"peer of {agent}",
        end=end,
        lose=lose,
        **more,
    )
