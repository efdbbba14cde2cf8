"""All targets by name."""

from collections.abc import Callable

from tests.fuzz import targets_http, targets_login, targets_wire

TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (*targets_http.TARGETS, *targets_login.TARGETS, *targets_wire.TARGETS)
}
