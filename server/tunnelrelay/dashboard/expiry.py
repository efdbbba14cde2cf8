"""The choices of when a token or an API key expires, as forms of the dashboard offer them. Pure."""

from tunnelrelay.services.problems import invalid

KEEP = "keep"
NEVER = "never"
_DAY = 86_400.0
_DAYS = {"1d": 1, "7d": 7, "30d": 30, "90d": 90, "365d": 365}
OPTIONS: tuple[tuple[str, str], ...] = (
    (NEVER, "Never"),
    ("1d", "In a day"),
    ("7d", "In 7 days"),
    ("30d", "In 30 days"),
    ("90d", "In 90 days"),
    ("365d", "In a year"),
)
"""Choices for a new token or key: each a value of the form with its label."""
CHANGES: tuple[tuple[str, str], ...] = ((KEEP, "As it is"), *OPTIONS)
"""Choices for an existing token or key, which may also keep its expiry."""


def expires_at(choice: str, now: float) -> float | None:
    """Return the Unix time of expiry for a choice of the form; None for never.

    Raises:
        ManageError: INVALID for a choice that was not offered, which must not become "never".
    """
    if choice == NEVER:
        return None
    if choice not in _DAYS:
        raise invalid({"expires_at": "choose one of these"})
    return now + _DAYS[choice] * _DAY
