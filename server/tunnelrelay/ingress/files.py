"""Open files: as many as the system lets the process have, and how many of them may be visitors' connections.

A process that has used up its files takes no connection from anybody and cannot open its database or its log, so
visitors' connections end well below.
"""

import logging

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]

from tunnelrelay.ingress.ingress import MAX_VISITORS

log = logging.getLogger("tunnelrelay.ingress")

OWN_FILES = 128
"""Files kept for the relay itself: database, logs, listeners, calls to providers."""
VISITORS_SHARE = 0.75
"""Visitors' part of the other files. The rest is for agents' links, and for the relay's own pages, each of which takes
two files while it is shown."""
FEW_VISITORS = 5_000
"""Below it the limit is small for a relay that others use, and the log says so at start."""


def raise_limit() -> None:
    """Have as many files as the system allows: many systems give 1,024 at first, and more to those that ask."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:  # macOS refuses some values above its own
            log.warning("the limit of open files stays as it is: limit=%d error=%s", soft, error)


def visitors_at_once() -> int:
    """Returns how many connections visitors may have, by the limit of open files as it is now and by `MAX_VISITORS`."""
    files = _limit()
    return min(MAX_VISITORS, max(1, int((files - OWN_FILES) * VISITORS_SHARE))) if files else MAX_VISITORS


def warn_when_few(visitors: int) -> None:
    """Tell the operator of a limit that a busy relay reaches."""
    if visitors < FEW_VISITORS:
        log.warning(
            "few visitors can be connected at once: visitors=%d open_files=%d hint=raise the limit of open files "
            "(LimitNOFILE=65536 under systemd, --ulimit nofile=65536 with Docker, ulimit -Hn in a shell)",
            visitors, _limit(),
        )  # fmt: skip


def _limit() -> int:
    """Files that the process may have open; 0 for no limit."""
    if resource is None:
        return 0
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 0 if soft == resource.RLIM_INFINITY else soft
