"""The findings of a provider check, and the responses they are based on. Plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urljoin, urlsplit

Level = Literal["ok", "warning", "error"]

DEPENDS_ON_THE_PLACE = frozenset({"dns", "tls", "unreachable", "slow", "server_error"})
"""Topics of errors that depend on the network location, so that the relay may not have them. All other errors occur
everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One result of a provider check.

    Attributes:
        topic: Identifier of what the finding is about, for scripts; never renamed.
        level: `error`: no login will work. `warning`: some logins will fail, or are less safe than they could be. `ok`:
            correct, or worth knowing.
        found: What was observed, a sentence without a full stop.
        why: The consequence for logins; "" where `found` says it.
        fix: How to fix it; "" when nothing needs fixing.
    """

    topic: str
    level: Level
    found: str
    why: str = ""
    fix: str = ""

    @property
    def is_a_mistake(self) -> bool:
        """Whether this is an error on every network, so that no login can work."""
        return self.level == "error" and self.topic not in DEPENDS_ON_THE_PLACE


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The response of a provider.

    Attributes:
        headers: Header fields, with names in lower case.
        body: The body, cut at the number of bytes that was requested.
        is_cut: The body was longer.
        seconds: Time from the first packet sent to the last byte received.
    """

    url: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_cut: bool = False
    seconds: float = 0.0

    @property
    def media_type(self) -> str:
        """The media type of the body, in lower case and without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def is_json(self) -> bool:
        """Whether the response is declared as JSON, which the relay requires."""
        return self.media_type == "application/json" or self.media_type.endswith("+json")

    @property
    def redirect(self) -> str:
        """The absolute URL that the response redirects to; "" without a valid one."""
        if not 300 <= self.status < 400 or "location" not in self.headers:
            return ""
        try:
            target = urljoin(self.url, self.headers["location"])
            return target if urlsplit(target).netloc else ""
        except ValueError:
            return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """The reason why a provider sent no response.

    Attributes:
        topic: `dns`, `tls`, `slow` or `unreachable`.
        detail: Error message of the part that failed.
    """

    url: str
    topic: Literal["dns", "tls", "slow", "unreachable"]
    detail: str = ""


Answer = Answered | Unanswered


def ok(topic: str, found: str, *, why: str = "", fix: str = "") -> Finding:
    """Return a finding that something is correct, or worth knowing."""
    return Finding(topic=topic, level="ok", found=found, why=why, fix=fix)


def warning(topic: str, found: str, *, why: str = "", fix: str = "") -> Finding:
    """Return a finding about a problem for visitors."""
    return Finding(topic=topic, level="warning", found=found, why=why, fix=fix)


def error(topic: str, found: str, *, why: str = "", fix: str = "") -> Finding:
    """Return a finding that makes every login fail."""
    return Finding(topic=topic, level="error", found=found, why=why, fix=fix)
