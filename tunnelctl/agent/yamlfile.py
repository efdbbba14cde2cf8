"""YAML with line numbers: mappings whose every key knows where it stands. Nothing here knows what the keys mean.

A JSON object is read to the same values, so that what reads a file reads it too.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

MAX_FILE = 1024 * 1024
"""Bytes. A configuration is a page long; this only keeps a mistake like /dev/zero from filling the memory."""


@dataclass(frozen=True, slots=True)
class YamlEntry:
    """One key of a mapping.

    Attributes:
        line: Of the key, from 1.
        value: Text of a scalar, None for an empty one, a mapping, or of a list the texts of its items, "" for
            one that is itself a list or mapping.
    """

    key: str
    line: int
    value: "str | Mapping | tuple[str, ...] | None"
    node: yaml.Node | None = field(default=None, repr=False, compare=False)

    def below(self) -> "Iterator[YamlEntry]":
        """Every key inside the value, however deep, in lists too; without their values."""
        waiting = [self.node]
        while waiting:
            node = waiting.pop()
            if isinstance(node, yaml.SequenceNode):
                waiting.extend(node.value)
            elif isinstance(node, yaml.MappingNode):
                for key, value in node.value:
                    yield YamlEntry(str(key.value), key.start_mark.line + 1, None)
                    waiting.append(value)

    def items(self, path: Path) -> "list[YamlEntry]":
        """An entry without a key for each item of the list that the value is.

        Raises:
            FileInvalid: An item has a key twice.
        """
        assert isinstance(self.node, yaml.SequenceNode)
        return [YamlEntry("", item.start_mark.line + 1, _value(item, path), item) for item in self.node.value]


Mapping = dict[str, YamlEntry]


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases: thirty lines of them unfold to a thousand million values, or to one that holds itself."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # PyYAML has no types for it
            raise yaml.composer.ComposerError(None, None, "aliases (`*name`) are not supported, write it out", mark)
        return super().compose_node(parent, index)


class FileInvalid(ValueError):
    """The file cannot be used.

    Attributes:
        problems: One line each, `FILE:LINE: what`.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def read_text(path: Path) -> str | None:
    """The file's text, None when there is no such file.

    Raises:
        FileInvalid: It cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            raise FileInvalid([f"{path}: larger than {MAX_FILE} bytes"])
        return data.decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError:
        raise FileInvalid([f"{path}: not UTF-8 text"]) from None
    except OSError as error:
        raise FileInvalid([f"{path}: {error.strerror}"]) from error


def parse(text: str, path: Path) -> Mapping:
    """The file's top mapping; an empty file is an empty one.

    Raises:
        FileInvalid: It is no YAML, no mapping, or has a key twice.
    """
    node = compose(text, path)
    if node is None:
        return {}
    value = _value(node, path)
    if not isinstance(value, dict):
        raise FileInvalid([f"{path}:1: the file must hold keys and values"])
    return value


def parse_json(data: bytes) -> Mapping:
    """A JSON object as `parse` gives a file: numbers and switches as their texts, all of it in line 1.

    Raises:
        ValueError: It is no JSON object in UTF-8, or has a key twice.
    """
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")
        read = _value(_node(value), Path("JSON"))
    except RecursionError:
        raise ValueError("too many values inside of each other") from None
    assert isinstance(read, dict)
    return read


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    once: dict[str, Any] = {}
    for name, value in pairs:
        if name in once:
            raise ValueError(f"{name} stands there twice")
        once[name] = value
    return once


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_LINE_1 = yaml.Mark("", 0, 0, 0, None, 0)


def _node(value: Any) -> yaml.Node:
    match value:
        case dict():
            pairs = [(_scalar(name), _node(inner)) for name, inner in value.items()]
            return yaml.MappingNode("tag:yaml.org,2002:map", pairs, _LINE_1, _LINE_1)
        case list():
            return yaml.SequenceNode("tag:yaml.org,2002:seq", [_node(one) for one in value], _LINE_1, _LINE_1)
        case None:
            return yaml.ScalarNode("tag:yaml.org,2002:null", "", _LINE_1, _LINE_1)
        case bool():
            return _scalar("true" if value else "false")
        case _:
            return _scalar(str(value))


def _scalar(text: str) -> yaml.ScalarNode:
    text.encode("utf-8")  # half of a surrogate pair is an error here, not where the text is sent
    return yaml.ScalarNode("tag:yaml.org,2002:str", text, _LINE_1, _LINE_1)


def compose(text: str, path: Path) -> yaml.Node | None:
    """The document's tree.

    Raises:
        FileInvalid: It is no YAML, or not of the plain kind.
    """
    try:
        return yaml.compose(text, Loader=_PlainLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise FileInvalid([f"{path}:{line}: not YAML: {error.problem}"]) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise FileInvalid([f"{path}: not YAML: {error}"]) from error


def _value(node: yaml.Node, path: Path) -> str | Mapping | tuple[str, ...] | None:
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path)
    if isinstance(node, yaml.SequenceNode):
        return tuple(str(item.value) if isinstance(item, yaml.ScalarNode) else "" for item in node.value)
    is_empty = node.tag == "tag:yaml.org,2002:null"
    return None if is_empty else str(node.value)


def _mapping(node: yaml.MappingNode, path: Path) -> Mapping:
    mapping: Mapping = {}
    for key_node, value_node in node.value:
        key, line = str(key_node.value), key_node.start_mark.line + 1
        if key in mapping:
            raise FileInvalid(
                [f"{path}:{line}: {key} stands here for the second time (first in line {mapping[key].line})"]
            )
        mapping[key] = YamlEntry(key, line, _value(value_node, path), value_node)
    return mapping
