"""Reads YAML with line numbers: mappings in which every key has its line. Does not know what keys mean.

A JSON object gives the same values, so that the reader of configuration files can read it too.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

MAX_FILE = 1024 * 1024
"""Maximum bytes of a file. A configuration is about a page long; the limit protects against mistakes like /dev/zero."""


@dataclass(frozen=True, slots=True)
class YamlEntry:
    """One key of a mapping, with its value.

    Attributes:
        line: Line of the key, from 1.
        value: For a scalar its text; None for an empty value; for a mapping the mapping; for a list the texts of its
            items, "" for items that are lists or mappings.
    """

    key: str
    line: int
    value: "str | Mapping | tuple[str, ...] | None"
    node: yaml.Node | None = field(default=None, repr=False, compare=False)

    def below(self) -> "Iterator[YamlEntry]":
        """Yield every key inside the value, at any depth, also in lists; without their values."""
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
        """Return an entry without a key for each item of the list in `value`.

        Raises:
            FileInvalid: An item has a duplicate key.
        """
        assert isinstance(self.node, yaml.SequenceNode)
        return [YamlEntry("", item.start_mark.line + 1, _value(item, path), item) for item in self.node.value]


Mapping = dict[str, YamlEntry]


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases: with them, thirty lines can unfold to a thousand million values, or to a value that
    contains itself.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # PyYAML has no types for it
            raise yaml.composer.ComposerError(None, None, "aliases (`*name`) are not supported, write it out", mark)
        return super().compose_node(parent, index)


class FileInvalid(ValueError):
    """The file cannot be used.

    Attributes:
        problems: One line each, of the form `FILE:LINE: text`.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def read_text(path: Path) -> str | None:
    """Return the file's text; None when the file does not exist.

    Raises:
        FileInvalid: The file cannot be read, or is too large.
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
    """Parse YAML text and return its top mapping; an empty text gives an empty mapping.

    Raises:
        FileInvalid: The text is not YAML, not a mapping, or has a duplicate key.
    """
    node = compose(text, path)
    if node is None:
        return {}
    value = _value(node, path)
    if not isinstance(value, dict):
        raise FileInvalid([f"{path}:1: the file must hold keys and values"])
    return value


def parse_json(data: bytes) -> Mapping:
    """Parse a JSON object to the form of `parse`: numbers and booleans as texts, all in line 1.

    Raises:
        ValueError: The bytes are not a JSON object in UTF-8, or have a duplicate key.
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
    text.encode("utf-8")  # half a surrogate pair is an error here, not only when the text is sent
    return yaml.ScalarNode("tag:yaml.org,2002:str", text, _LINE_1, _LINE_1)


def compose(text: str, path: Path) -> yaml.Node | None:
    """Return the document's tree of nodes.

    Raises:
        FileInvalid: The text is not YAML, or uses aliases.
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
