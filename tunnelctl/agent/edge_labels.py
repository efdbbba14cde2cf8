"""Parses the labels of a tunnel that serves edges.

An edge's address and rules are configured at the relay. Rules given to such a tunnel would have no effect, so they are
refused: an app must never be published with less protection than its owner asked for.
"""

from collections.abc import Iterable

from tunnelctl.wire.problem import Problem
from tunnelctl.wire.texts import MAX_LABELS, label_problem

KEPT_AT_THE_RELAY = "an edge's rules are kept at the relay"
HINT = "set the rules on the edge: in the dashboard, or with `tunnel api edge-modules`"


def parse_labels(flag: str, texts: Iterable[str], problems: list[Problem]) -> tuple[tuple[str, str], ...]:
    """Parse labels of the form `NAME=VALUE`; problems are appended to `problems`."""
    labels: list[tuple[str, str]] = []
    for text in texts:
        try:
            labels.append(_label(text))
        except ValueError as error:
            problems.append(Problem(flag, str(error)))
    names = [name for name, _ in labels]
    twice = sorted({name for name in names if names.count(name) > 1})
    problems.extend(Problem(flag, f"{name} has more than one value") for name in twice)
    if len(labels) > MAX_LABELS:
        problems.append(Problem(flag, f"{len(labels)} labels, {MAX_LABELS} at most"))
    return tuple(labels)


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    name, value = name.strip(), value.strip()
    if not equals or not name or not value:
        raise ValueError(f"{text!r} is not NAME=VALUE, as in edge=edghts_2abc")
    if problem := label_problem(name, value):
        raise ValueError(f"{text[:40]!r}: {problem}")
    return name, value
