"""Divides the process's limit of open files between visitors' connections and agents' links.

A process without free files accepts no connection and cannot open its database or log, so both shares together stay
well below the limit.
"""

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]  # a module elsewhere

from tunnelctl.eventlog import EventLog
from tunnelrelay.ingress.ingress import MAX_VISITORS

log = EventLog("tunnelrelay.ingress")

OWN_FILES = 128
"""Files kept for the relay itself: database, logs, listeners, calls to providers."""
VISITORS_SHARE, LINKS_SHARE = 0.75, 0.2
"""Visitors' and agents' parts of the other files. The rest is for the relay's own pages, each of which takes two files
while it is shown."""
FEW_VISITORS = 5_000
"""Below it the limit is small for a relay that others use, and the log says so at start."""


def visitors_at_once() -> int:
    """How many connections visitors may have, by the current limit of open files and by `MAX_VISITORS`."""
    return _part(VISITORS_SHARE, MAX_VISITORS)


def links_at_once(most: int) -> int:
    """How many links agents may have, by the current limit of open files and by `most`."""
    return _part(LINKS_SHARE, most)


def warn_when_few(visitors: int) -> None:
    """Tell the operator of a limit that a busy relay reaches."""
    if visitors < FEW_VISITORS:
        log.warning(
            "few visitors can be connected at once",
            visitors=visitors,
            open_files=open_file_limit(),
            hint="raise the limit of open files (LimitNOFILE=65536 under systemd, "
            "--ulimit nofile=65536 with Docker, ulimit -Hn in a shell)",
        )


def _part(share: float, most: int) -> int:
    files = open_file_limit()
    return min(most, max(1, int((files - OWN_FILES) * share))) if files else most


def open_file_limit() -> int:
    """Files that the process may have open; 0 for no limit."""
    if resource is None:
        return 0
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 0 if soft == resource.RLIM_INFINITY else soft
