"""Saves settings in the configuration file. Comments and order stay, and only the file's owner may read it."""

import json
import os
import tempfile
from pathlib import Path
from typing import Literal

import yaml

from tunnelctl.agent.yamlfile import FileInvalid, Mapping, compose, parse, read_text

V2_SPELLINGS = {"connect_url": ("server_addr",)}
"""Other names of keys in files of version 2."""
SavedKey = Literal["authtoken", "api_key", "connect_url"]


def save_secret(path: Path, key: SavedKey, value: str) -> None:
    """Set a value in the file, which is created when missing.

    Raises:
        FileInvalid: The file is not a YAML mapping, or has a form that cannot be edited.
        OSError: The file cannot be written.
    """
    text = with_secret(read_text(path) or "", key, value, path)
    if _found(parse(text, path), key) != value:
        raise FileInvalid([f"{path}: cannot be edited without changing more than the {key}; write it in by hand"])
    write_private(path, text)


def with_secret(text: str, key: SavedKey, value: str, path: Path) -> str:
    """Return the file's text with this value: one value replaced or one line added, the rest unchanged.

    Raises:
        FileInvalid: The text is not a YAML mapping.
    """
    quoted = json.dumps(value)
    top = compose(text, path)
    if top is None:
        return f"{text}version: 3\nagent:\n  {key}: {quoted}\n"
    if not isinstance(top, yaml.MappingNode):
        raise FileInvalid([f"{path}:1: the file must hold keys and values"])
    parse(text, path)  # refuses duplicate keys, of which the wrong one might be replaced
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
    """Replace the key's value, or insert the key before the first one of the mapping."""
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
    """Add a blank before the value if the present value is empty and so begins directly after the colon."""
    return f" {value}" if node.start_mark.index == node.end_mark.index else value


def write_private(path: Path, text: str) -> None:
    """Replace the file atomically, readable by its owner only. A symbolic link to the file stays a link."""
    replace_file(path, text, mode=0o600)


def replace_file(path: Path, text: str, *, mode: int) -> None:
    """Replace or create a file atomically."""
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
