"""The API's response models of a provider check: its findings and its result."""

from collections.abc import Sequence
from typing import Literal

from tunnelctl.oidc import findings
from tunnelrelay.api.values import ResponseBody

Level = Literal["ok", "warning", "error"]


class Finding(ResponseBody):
    """One thing that a check of an OpenID provider found."""

    topic: str
    """A stable name of what the finding is about."""
    level: Level
    """`error`: no login will work. `warning`: some logins will fail, or be less safe."""
    found: str
    why: str
    fix: str


class Check(ResponseBody):
    """The result of a check of an OpenID provider: whether people could log in, and the findings."""

    ok: bool
    """Whether logins can work: no finding has the level `error`."""
    findings: list[Finding]


def check_of(found: Sequence[findings.Finding]) -> Check:
    """Return the response for these findings."""
    shown = [Finding(topic=one.topic, level=one.level, found=one.found, why=one.why, fix=one.fix) for one in found]
    return Check(ok=all(one.level != "error" for one in shown), findings=shown)
