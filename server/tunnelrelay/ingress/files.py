"""Divides the process's limit of open files between visitors' connections and agents' links.

A process that has reached the limit accepts no connection and cannot open its database or log, so both parts together
stay well below it.
"""

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]  # a module elsewhere

from tunnelctl.eventlog import EventLog
from tunnelrelay.ingress.ingress import MAX_VISITORS

log = EventLog("tunnelrelay.ingress")

OWN_FILES = 128
"""Open files that are reserved for the relay itself: database, logs, listeners, requests to identity providers."""
VISITORS_SHARE, LINKS_SHARE = 0.75, 0.2
"""The parts of all other open files that visitors' connections and agents' links may use. The rest is for requests for
the relay's own pages, each of which takes two files."""
FEW_VISITORS = 5_000
"""With fewer connections than this, the relay logs a warning at the start that the limit of open files is low."""


def visitors_at_once() -> int:
    """Return how many connections visitors may have, by the process's limit of open files and `MAX_VISITORS`."""
    return _part(VISITORS_SHARE, MAX_VISITORS)


def links_at_once(most: int) -> int:
    """Return how many links agents may have, by the process's limit of open files and `most`."""
    return _part(LINKS_SHARE, most)


def warn_when_few(visitors: int) -> None:
    """Log a warning when so few visitors can be connected at once that a busy relay would reach the limit."""
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
    """Return how many files the process may have open; 0 for no limit."""
    if resource is None:
        return 0
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 0 if soft == resource.RLIM_INFINITY else soft
