"""The findings of a provider check, and the answers that they are drawn from. Pure values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urljoin, urlsplit

Level = Literal["ok", "warning", "error"]

DEPENDS_ON_THE_PLACE = frozenset({"dns", "tls", "unreachable", "slow", "server_error"})
"""Topics of errors that the relay, which stands elsewhere, may not see. Every other error is one everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing a check found.

    Attributes:
        topic: What it is about, for scripts; never renamed.
        level: `error`: no login will work. `warning`: some will not, or less safely than could be. `ok`: as it should
            be, or simply worth knowing.
        found: What was seen, a sentence without a full stop.
        why: What it means for a login, "" where `found` says it.
        fix: What to do, "" when there is nothing to do.
    """

    topic: str
    level: Level
    found: str
    why: str = ""
    fix: str = ""

    @property
    def is_a_mistake(self) -> bool:
        """Whether it is an error from every network, so that a login cannot work."""
        return self.level == "error" and self.topic not in DEPENDS_ON_THE_PLACE


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a provider answered.

    Attributes:
        headers: Names in lower case.
        body: At most as much as was asked for.
        is_cut: There was more.
        seconds: From the first packet to the last byte.
    """

    url: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_cut: bool = False
    seconds: float = 0.0

    @property
    def media_type(self) -> str:
        """Of the body, in lower case and without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def is_json(self) -> bool:
        """Whether the body is declared to be JSON, as the relay demands."""
        return self.media_type == "application/json" or self.media_type.endswith("+json")

    @property
    def redirect(self) -> str:
        """The absolute URL of its redirect; "" without a valid one."""
        if not 300 <= self.status < 400 or "location" not in self.headers:
            return ""
        try:
            target = urljoin(self.url, self.headers["location"])
            return target if urlsplit(target).netloc else ""
        except ValueError:
            return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """Why there is no answer.

    Attributes:
        topic: `dns`, `tls`, `slow` or `unreachable`.
        detail: In the words of the part that failed.
    """

    url: str
    topic: Literal["dns", "tls", "slow", "unreachable"]
    detail: str = ""


Answer = Answered | Unanswered


def ok(topic: str, found: str, *, why: str = "", fix: str = "") -> Finding:
    """A finding that all is well, or worth knowing."""
    return Finding(topic=topic, level="ok", found=found, why=why, fix=fix)


def warning(topic: str, found: str, *, why: str = "", fix: str = "") -> Finding:
    """A finding that will cause trouble for visitors."""
    return Finding(topic=topic, level="warning", found=found, why=why, fix=fix)


def error(topic: str, found: str, *, why: str = "", fix: str = "") -> Finding:
    """A finding that makes every login fail."""
    return Finding(topic=topic, level="error", found=found, why=why, fix=fix)
