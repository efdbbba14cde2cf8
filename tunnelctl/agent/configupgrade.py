"""Converts a configuration file of version 2 to the schema of version 3, from text to text.

Lines keep their text and comments; those about the agent are moved below `agent:`. The result is read again and
compared with the original, so that a file in an unusual form is refused instead of changing its meaning.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import yaml

from tunnelctl.agent.yamlfile import FileInvalid, Mapping, YamlEntry, compose, parse

CURRENT = 3
RENAMED = {"server_addr": "connect_url", "root_cas": "connect_cas"}
"""Renamed keys about the agent: names in version 2 and in version 3."""
TOP_KEYS = ("version", "tunnels")
BY_HAND = "cannot be written anew without changing what it says; write it by hand"


class CannotUpgrade(ValueError):
    """The file cannot be converted to that version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """The result of a conversion: a file in the current version.

    Attributes:
        before: Version of the original file; 0 for none.
        changes: Description of the changes, one line each; never contains a value, which may be a secret.
    """

    text: str
    before: int
    changes: tuple[str, ...] = ()


def upgraded(text: str, path: Path, *, to: int = CURRENT) -> Upgrade:
    """Return the file converted to the schema of version `to`.

    Raises:
        CannotUpgrade: There is no such version, or the file is newer.
        FileInvalid: The file is not a YAML mapping, or has a form that cannot be rewritten.
    """
    top = parse(text, path)
    before = _version(top, path)
    if to != CURRENT:
        raise CannotUpgrade(f"version {to} cannot be written, only version {CURRENT}: no file is written anew as older")
    if before == CURRENT:
        return Upgrade(text=text, before=before)
    if before > CURRENT:
        raise CannotUpgrade(f"{path}: version {before} is newer than this program, which knows version {CURRENT}")
    said = () if before else ("`version` is added",)
    if not before and (not top or {"agent", "endpoints"} & top.keys()):
        return Upgrade(text=f"version: {CURRENT}\n{text}", before=before, changes=said)
    changes = [*said, *_rename(top)]
    new = _moved(text, path)
    if _values(parse(new, path)) != _wanted(top):
        raise FileInvalid([f"{path}: {BY_HAND}"])
    if moved := [key for key in top if key not in TOP_KEYS]:
        changes.append(f"below `agent`: {', '.join(RENAMED.get(key, key) for key in moved)}")
    return Upgrade(text=new, before=before, changes=tuple(changes) or (f"version {before} becomes {CURRENT}",))


def _version(top: Mapping, path: Path) -> int:
    entry = top.get("version")
    if entry is None:
        return 0
    if not isinstance(entry.value, str) or not entry.value.isascii() or not entry.value.isdigit():
        raise FileInvalid([f"{path}:{entry.line}: version is no number"])
    return int(entry.value[:9])


def _rename(top: Mapping) -> list[str]:
    return [f"`{old}` is called `{new}`" for old, new in RENAMED.items() if old in top]


def _moved(text: str, path: Path) -> str:
    """Return the text with every top-level key except `TOP_KEYS` moved below `agent`."""
    node = compose(text, path)
    if not isinstance(node, yaml.MappingNode) or node.flow_style:
        raise FileInvalid([f"{path}: {BY_HAND}"])
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    starts = [key.start_mark.line for key, _ in node.value]
    starts[1:] = [_with_comments(lines, start, after) for after, start in pairwise(starts)]
    head = lines[: starts[0]]
    agent: list[str] = []
    rest: list[str] = []
    for (key, _), start, end in zip(node.value, starts, [*starts[1:], len(lines)], strict=True):
        part = lines[start:end]
        if key.value not in TOP_KEYS:
            at = key.start_mark.line - start
            part[at] = part[at].replace(key.value, RENAMED.get(key.value, key.value), 1)
            agent += [f"  {line}" if line.strip() else line for line in part]
        elif key.value != "version":
            rest += part
    return "".join([*head, f"version: {CURRENT}\n", *(["agent:\n", *agent] if agent else []), *rest])


def _with_comments(lines: list[str], start: int, after: int) -> int:
    """Return the line at which the comments above a key begin; they are moved together with it."""
    while start - 1 > after and lines[start - 1].startswith("#"):
        start -= 1
    return start


Values = dict[str, "str | tuple[str, ...] | Values | None"]


def _values(entries: Mapping) -> Values:
    """Return the content of a mapping without line numbers, for comparison.

    Mappings inside lists are left out, as they are not changed.
    """
    return {key: _values(one.value) if isinstance(one.value, dict) else one.value for key, one in entries.items()}


def _wanted(top: Mapping) -> Values:
    def named(entry: YamlEntry) -> str:
        return RENAMED.get(entry.key, entry.key)

    agent = {named(one): one for one in top.values() if one.key not in TOP_KEYS}
    rest = {key: one for key, one in top.items() if key == "tunnels"}
    wanted: Values = {"version": str(CURRENT), **({"agent": _values(agent)} if agent else {}), **_values(rest)}
    return wanted
