"""Tunnels of the configuration file, in ngrok's words: `tunnels:` and a name for each. Pure.

A key that is not known here is an error of the whole file. A value that cannot be used, a missing one (an empty list of
passwords is a restriction that was meant), and what only ngrok has are problems of their tunnel: it is never started,
and the others can be.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tunnelctl.agent.yamlfile import Mapping as Entries
from tunnelctl.agent.yamlfile import YamlEntry
from tunnelctl.policy.fields import FIELDS, PolicyField
from tunnelctl.policy.parse import PolicyTexts

Kind = Literal["text", "list", "switch", "number"]
At = Callable[[YamlEntry, str], str]
"""Puts the file and the line of an entry before a problem."""
Report = Callable[[YamlEntry, str], None]
"""Takes a problem with an entry."""
ReportUnknown = Callable[[YamlEntry, str, bool], str]
"""Takes an unknown key, the keys that lead to it, and whether it is among rules. Returns the problem when only this
tunnel has it, "" when it was reported for the whole file."""

OWN: dict[str, tuple[str, Kind]] = {
    "addr": ("addr", "text"),
    "subdomain": ("subdomain", "text"),
    "domain": ("domain", "text"),
    "hostname": ("domain", "text"),
    "url": ("url", "text"),
    "remote_addr": ("remote_addr", "text"),
    "schemes": ("schemes", "list"),
    "labels": ("labels", "list"),
    "edge": ("edge", "text"),
    "pooling_enabled": ("pooling", "switch"),
    "weight": ("weight", "number"),
    "metadata": ("metadata", "text"),
}
"""Key of a tunnel to the member of `FileTunnel` that it fills."""
RULES: Mapping[str, PolicyField] = {row.key: row for row in FIELDS if row.key}
"""Key of a tunnel to the setting of its policy; a dot leads into a mapping."""
TUNNEL_KEYS = (*OWN, "proto", *RULES)
INNER = {key.partition(".")[0] for key in RULES if "." in key}
"""Keys whose value is a mapping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTunnel:
    """One tunnel as the file has it; "", () and None for what it does not say.

    Attributes:
        policy: With forms of secrets, not the secrets.
        problems: Why it cannot be started, each with file and line. Its other members may be incomplete then.
        where: File, line and keys that lead to it, for people.
    """

    name: str
    addr: str = ""
    is_tcp: bool = False
    remote_addr: str = ""
    subdomain: str = ""
    domain: str = ""
    url: str = ""
    schemes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    edge: str = ""
    pooling: bool = False
    weight: int | None = None
    metadata: str = ""
    policy: PolicyTexts = field(default_factory=PolicyTexts)
    problems: tuple[str, ...] = ()
    where: str = field(default="", compare=False)


def read_tunnels(entry: YamlEntry, at: At, report: Report, report_unknown: ReportUnknown) -> tuple[FileTunnel, ...]:
    """The tunnels of the `tunnels` entry, those that cannot be started with their problems.

    Args:
        report: Takes problems with the entry itself.
    """
    if not entry.value:
        return ()
    if not isinstance(entry.value, dict):
        report(entry, "tunnels has a value of the wrong kind: it holds names, and below each what the tunnel is")
        return ()
    found = []
    for one in entry.value.values():
        if isinstance(one.value, dict):
            found.append(_tunnel(one, one.value, at, report_unknown))
        else:
            what = f"tunnels.{one.key} has a value of the wrong kind: it needs at least `addr:`"
            found.append(FileTunnel(name=one.key, problems=(at(one, what),), where=at(one, f"tunnels.{one.key}")))
    return tuple(found)


def _tunnel(entry: YamlEntry, entries: Entries, at: At, report_unknown: ReportUnknown) -> FileTunnel:
    own: dict[str, Any] = {}
    rules: dict[str, Any] = {}
    problems: list[str] = []

    def report(one: YamlEntry, what: str) -> None:
        problems.append(at(one, what))

    for path, one in _flat(entries).items():
        if path in OWN:
            _fill(own, *OWN[path], one, report)
        elif path in RULES:
            _fill(rules, RULES[path].path, _kind_of(RULES[path]), one, report)
        elif path == "proto":
            own["is_tcp"] = _is_tcp(one, report)
        elif path in INNER:
            report(one, f"tunnels.{entry.key}.{path} has no value, or one of the wrong kind")
        else:
            above = path.rpartition(".")[0]
            what = report_unknown(one, f"tunnels.{entry.key}.{above}{'.' if above else ''}", bool(above))
            if what:
                report(one, what)
    if "addr" not in entries:
        report(entry, f"tunnels.{entry.key}: addr is missing")
    where = at(entry, f"tunnels.{entry.key}")
    return FileTunnel(name=entry.key, policy=_texts(rules), problems=tuple(problems), where=where, **own)


def _kind_of(row: PolicyField) -> Kind:
    return "list" if row.is_list else "switch" if row.kind == "switch" else "text"


def _texts(rules: Mapping[str, Any]) -> PolicyTexts:
    """The values of the rules as one would type them: a switch that is off is not typed."""
    texts = {path: ("true",) if value is True else value for path, value in rules.items() if value is not False}
    each = {path: (value,) if isinstance(value, str) else value for path, value in texts.items()}
    return PolicyTexts(tuple((path, text) for path, values in each.items() for text in values))


def _flat(entries: Mapping[str, YamlEntry]) -> dict[str, YamlEntry]:
    """Every entry by its path; those inside a known mapping one by one."""
    flat: dict[str, YamlEntry] = {}
    for key, entry in entries.items():
        if key in INNER and isinstance(entry.value, dict) and entry.value:
            flat |= {f"{key}.{name}": inner for name, inner in entry.value.items()}
        else:
            flat[key] = entry
    return flat


def _fill(members: dict[str, Any], member: str, kind: Kind, entry: YamlEntry, report: Report) -> None:
    value = entry.value
    if value in (None, "", ()):
        report(entry, f"{entry.key} has no value")
    elif member in members:
        report(entry, f"{entry.key} says what another key has said already")
    elif (read := _read(kind, value)) is None:
        report(entry, f"{entry.key} has a value of the wrong kind")
    else:
        members[member] = read


def _read(kind: Kind, value: Any) -> Any:
    """The value, None when it is of another kind."""
    if kind == "list":
        return value if isinstance(value, tuple) and all(value) else None
    if not isinstance(value, str):
        return None
    match kind:
        case "switch":
            return {"true": True, "false": False}.get(value.lower())
        case "number":
            return int(value) if value.isascii() and value.isdigit() and 1 <= int(value[:4]) <= 100 else None
        case _:
            return value


def _is_tcp(entry: YamlEntry, report: Report) -> bool:
    if entry.value not in ("http", "tcp"):
        report(entry, f"proto: invalid protocol name {entry.value!r}, only http and tcp can be served")
    return entry.value == "tcp"
