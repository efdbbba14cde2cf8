"""The schema of a provider check: its findings."""

from collections.abc import Sequence
from typing import Literal

from tunnelctl.oidc import findings
from tunnelrelay.api.values import ResponseBody

Level = Literal["ok", "warning", "error"]


class Finding(ResponseBody):
    """One finding of the check."""

    topic: str
    """What it is about; never renamed."""
    level: Level
    """`error`: no login will work. `warning`: some will not, or less safely."""
    found: str
    why: str
    fix: str


class Check(ResponseBody):
    """The result of a provider check: whether people could log in, and the findings."""

    ok: bool
    """Nothing was found that keeps every login from working."""
    findings: list[Finding]


def check_of(found: Sequence[findings.Finding]) -> Check:
    """The schema for these findings."""
    shown = [Finding(topic=one.topic, level=one.level, found=one.found, why=one.why, fix=one.fix) for one in found]
    return Check(ok=all(one.level != "error" for one in shown), findings=shown)
