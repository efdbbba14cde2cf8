"""Each log call names a constant event and gives its values as fields."""

import ast
from collections.abc import Iterator

from tests.test_architecture import modules, tree

LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
RESERVED = {"time", "level", "logger", "msg", "traceback", "t", "lvl", "obj", "err", "message", "event", "line"}
"""Keys of the record itself, in one of the two programs' forms. pyngrok keeps the whole record as `line`."""
MAY_USE_LOGGING = {"tunnelctl.eventlog", "tunnelctl.cli.logs", "tunnelctl.cli.output_mode", "tunnelrelay.observe.logs"}
"""The log itself: it configures Python's `logging` and formats its records."""


def calls() -> Iterator[tuple[str, ast.Call]]:
    for name in modules():
        for node in ast.walk(tree(name)):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "log"
                and node.func.attr in LEVELS
            ):
                yield f"{name}:{node.lineno}", node


def is_constant_event(call: ast.Call) -> bool:
    match call.args:
        case [ast.Constant(value=str(event))]:
            return bool(event) and event.isprintable() and not set(event) & set("%{}=:")
        case _:
            return False


def test_an_event_is_a_constant_without_values():
    found = dict(calls())
    assert len(found) > 50
    assert [where for where, call in found.items() if not is_constant_event(call)] == []


def test_the_agents_events_are_constants_too():
    records = [
        node
        for watcher in tree("tunnelctl.cli.logs").body
        if isinstance(watcher, ast.ClassDef) and watcher.name in ("LogWatcher", "ApiLog")
        for node in ast.walk(watcher)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "record"
    ]
    assert len(records) > 15
    assert [ast.unparse(one) for one in records if not isinstance(one.args[1], ast.Constant)] == []
    assert [ast.unparse(one) for one in records for keyword in one.keywords if keyword.arg == "line"] == []


def test_no_field_takes_the_name_of_a_part_of_the_record():
    taken = [
        f"{where}: {keyword.arg}" for where, call in calls() for keyword in call.keywords if keyword.arg in RESERVED
    ]
    assert taken == []


def test_nothing_logs_past_the_event_log():
    importers = {
        name
        for name in modules()
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Import) and any(alias.name == "logging" for alias in node.names)
    }
    assert importers <= MAY_USE_LOGGING
