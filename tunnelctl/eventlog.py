"""Structured log events: a constant name and fields, so that logs can be queried by field.

A module creates `log = EventLog(__name__)` and calls `log.info("agent connected", owner=owner, peer=peer)`. The records
go through Python's `logging`; `tunnelrelay.observe.logs` and `tunnelctl.cli.logs` write them.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """The message of a log record. `str()` of it is `name key=value ...`, for log handlers that do not know fields."""

    name: str
    fields: Mapping[str, object]

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{name}={value}" for name, value in self.fields.items())])


class EventLog:
    """A logger for structured events.

    Args:
        name: Name of the logger, as in `logging.getLogger`.
    """

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, /, **fields: object) -> None:
        """Log a detail that helps to diagnose a fault."""
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        """Log a normal event."""
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        """Log a failure that may pass by itself."""
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, /, *, exc_info: BaseException | None = None, **fields: object) -> None:
        """Log a failure that lasts until it is fixed, with the traceback of `exc_info`."""
        self._log(logging.ERROR, event, fields, exc_info)

    def critical(self, event: str, /, *, exc_info: BaseException, **fields: object) -> None:
        """Log the error that ends the program."""
        self._log(logging.CRITICAL, event, fields, exc_info)

    def exception(self, event: str, /, **fields: object) -> None:
        """Log an error with the traceback of the exception that is being handled."""
        self._log(logging.ERROR, event, fields, True)

    def _log(
        self, level: int, event: str, fields: dict[str, object], exc_info: BaseException | bool | None = None
    ) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, Event(event, fields), exc_info=exc_info, stacklevel=3)


def event_of(record: logging.LogRecord) -> Event:
    """Return the event of a log record. A library's record becomes an event without fields."""
    return record.msg if isinstance(record.msg, Event) else Event(record.getMessage(), {})
