"""Saving into the configuration file: comments and order stay, and only its owner may read it."""

import json
import os
import tempfile
from pathlib import Path
from typing import Literal

import yaml

from tunnelctl.agent.yamlfile import FileInvalid, Mapping, compose, parse, read_text

V2_SPELLINGS = {"connect_url": ("server_addr",)}
"""Other names of a key, in files of version 2."""
SavedKey = Literal["authtoken", "api_key", "connect_url"]


def save_secret(path: Path, key: SavedKey, value: str) -> None:
    """Put the value in the file, which is made if it is not there.

    Raises:
        FileInvalid: The file that is there is no YAML mapping, or one written in a way that cannot be edited.
        OSError: It cannot be written.
    """
    text = with_secret(read_text(path) or "", key, value, path)
    if _found(parse(text, path), key) != value:
        raise FileInvalid([f"{path}: cannot be edited without changing more than the {key}; write it in by hand"])
    write_private(path, text)


def with_secret(text: str, key: SavedKey, value: str, path: Path) -> str:
    """The file's text with this value in it: one value replaced or one line added, all else as it was.

    Raises:
        FileInvalid: The text is no YAML mapping.
    """
    quoted = json.dumps(value)
    top = compose(text, path)
    if top is None:
        return f"{text}version: 3\nagent:\n  {key}: {quoted}\n"
    if not isinstance(top, yaml.MappingNode):
        raise FileInvalid([f"{path}:1: the file must hold keys and values"])
    parse(text, path)  # no key twice: else we might replace the one that does not count
    keys = {str(key.value): (key, value) for key, value in top.value}
    if "version" in keys and str(keys["version"][1].value) == "2":
        return _set(text, top, key, quoted)
    if "agent" not in keys:
        text = f"{text.rstrip()}\nagent:\n  {key}: {quoted}\n"
    else:
        text = _set_in_agent(text, keys["agent"][1], key, quoted)
    return text if "version" in keys else f"version: 3\n{text}"


def _set_in_agent(text: str, agent: yaml.Node, key: SavedKey, quoted: str) -> str:
    if isinstance(agent, yaml.MappingNode) and agent.value:
        return _set(text, agent, key, quoted)
    start, end = agent.start_mark.index, agent.end_mark.index
    lead = "" if start and text[start - 1].isspace() else " "
    return f"{text[:start]}{lead}{{{key}: {quoted}}}{text[end:]}"


def _set(text: str, mapping: yaml.MappingNode, key: str, value: str) -> str:
    """Replace the key's value, or put the key before the mapping's first."""
    for key_node, value_node in mapping.value:
        if key_node.value in (key, *V2_SPELLINGS.get(key, ())):
            return (
                f"{text[: value_node.start_mark.index]}{_spaced(value_node, value)}{text[value_node.end_mark.index :]}"
            )
    first = mapping.value[0][0].start_mark
    separator = ", " if mapping.flow_style else "\n" + " " * first.column
    return f"{text[: first.index]}{key}: {value}{separator}{text[first.index :]}"


def _found(top: Mapping, key: SavedKey) -> object:
    agent = top.get("agent")
    inner = agent.value if agent is not None else top
    names = (key, *V2_SPELLINGS.get(key, ()))
    entries = [inner[name] for name in names if name in inner] if isinstance(inner, dict) else []
    return entries[0].value if entries else None


def _spaced(node: yaml.Node, value: str) -> str:
    """An empty value begins right behind its colon."""
    return f" {value}" if node.start_mark.index == node.end_mark.index else value


def write_private(path: Path, text: str) -> None:
    """Replace the file in one step, readable by its owner only. A link to the real file stays a link."""
    replace_file(path, text, mode=0o600)


def replace_file(path: Path, text: str, *, mode: int) -> None:
    """Replace a file in one step, or make it."""
    target = Path(os.path.realpath(path))
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
