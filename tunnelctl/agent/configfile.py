"""Reads the agent's configuration file: YAML in the schema of ngrok's version 3 (and the usable part of version 2).

An unknown key is an error, with its line: a misspelt restriction must never be ignored. In a version 2 file, which
ngrok itself read loosely, it is a warning, unless it looks like a restriction, or like a known key; then it is an error
too. A key that is known but unsupported (`proto: tls`, ngrok's `oauth`, a value of the wrong type) is a problem of its
tunnel only. `configsave` writes files.
"""

import os
import re
from collections.abc import Mapping as AbstractMapping
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import platformdirs

from tunnelctl.agent.tunnelfile import (
    DEFINITION_KEYS,
    INNER,
    FileTunnel,
    ReportUnknown,
    read_definition_at,
    read_endpoints,
    read_tunnels,
)
from tunnelctl.agent.unsupported import (
    IN_A_DEFINITION,
    IN_A_TUNNEL,
    INSTEAD,
    MAY_BE_OFF,
    OF_THE_AGENT,
    OFF,
    WITHOUT_EFFECT,
)
from tunnelctl.agent.yamlfile import FileInvalid, Mapping, YamlEntry, parse, read_text
from tunnelctl.nearest import nearest

RESTRICTING = frozenset(
    {
        "auth", "basic_auth", "circuit_breaker", "cidr_allow", "cidr_deny", "ip_policy", "ip_restriction",
        "mutual_tls_cas", "oauth", "oidc", "policy", "policy_file", "saml", "traffic_policy", "traffic_policy_file",
        "traffic_policy_url", "user_agent_filter", "verify_webhook",
    }
)  # fmt: skip
"""Keys of a tunnel, ngrok's included, that restrict who has access."""
_RESTRICTING_NAMES = tuple(
    RESTRICTING
    | {part for key in DEFINITION_KEYS if key.startswith(("basic", "oidc", "ip_")) for part in key.split(".")}
)
_RESTRICTING_WORDS = re.compile(
    "auth(?!or|tok)|oidc|saml|jwt|cidr|allow|deny|restrict|polic|passw|mutual|mtls|webhook|filter|login|list$|acl"
    "|verify|credential|firewall|limit|protect"
)
"""Parts of words that, in an unknown key, show that it was meant to restrict access."""
TOP_KEYS = ("version", "agent", "endpoints", "tunnels")
SEE_KEYS = "docs/reference/agent-configuration.md lists the keys of a tunnel"
V2_NAMES = {"server_addr": "connect_url", "root_cas": "connect_cas"}
CONSOLE_UI = ("iftty", "true", "false")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileConfig:
    """The content of a configuration file; "" for missing keys.

    Attributes:
        authtoken, api_key: A secret in one of its forms (`env:`, `file:`, or the secret itself).
        api_url: URL of the relay's API.
        connect_url: Address of the relay.
        connect_cas: PEM file for the relay's certificate; ngrok's `trusted` and `host` mean the system's authorities.
        proxy_url: Proxy to the relay, in one of the forms of a secret, as it may contain a password.
        console_ui: `iftty`, `true` or `false`.
        web_addr: Address of the local API; `false` for none.
        inspect_db_size: Maximum bytes of captured exchanges; 0 for the default, -1 for no capturing.
        tunnels: Tunnels that `tunnel start` can start, in the file's order, and those that it must refuse.
        warnings: Warnings for display, one line each.
        origins: For several files: the file that contains a key, by key.
    """

    path: Path
    exists: bool = False
    authtoken: str = field(default="", repr=False)
    api_key: str = field(default="", repr=False)
    api_url: str = ""
    connect_url: str = ""
    connect_cas: str = ""
    proxy_url: str = field(default="", repr=False)
    console_ui: str = ""
    log: str = ""
    log_format: str = ""
    log_level: str = ""
    web_addr: str = ""
    inspect_db_size: str = ""
    tunnels: tuple[FileTunnel, ...] = ()
    warnings: tuple[str, ...] = ()
    origins: AbstractMapping[str, Path] = field(default_factory=dict)

    def where(self, key: str) -> str:
        """Return a key with the file that contains it, for display."""
        return f"{self.origins.get(key, self.path)}: {key}"


AGENT_KEYS = (
    "authtoken", "api_key", "api_url", "connect_url", "connect_cas", "proxy_url", "console_ui", "log", "log_format",
    "log_level", "web_addr", "inspect_db_size",
)  # fmt: skip


def default_path(folder: str = "tunnelctl", name: str = "tunnel.yml") -> Path:
    """Return the path of the file when none is given: in the platform's directory for configuration."""
    return Path(platformdirs.user_config_path(folder)) / name


@dataclass(frozen=True, slots=True)
class ConfigFiles:
    """The configuration files that the agent reads.

    Attributes:
        named: Files that the user named. Each must exist.
        default: File that is read when none was named; it need not exist.
        older: Paths from older releases. The first existing file is read when none was named and the default one does
            not exist.
    """

    named: tuple[Path, ...] = ()
    default: Path = field(default_factory=default_path)
    older: tuple[Path, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """Return the files that are read."""
        if self.named:
            return self.named
        places = (self.default, *self.older)
        return (next((path for path in places if os.path.exists(path)), self.default),)

    @property
    def to_write(self) -> tuple[Path, ...]:
        """Return the files in which a setting is saved."""
        return self.named or (self.default,)

    def load(self) -> FileConfig:
        """Return the combined content of the files; see `merged`.

        Raises:
            FileInvalid: Lists every problem of every file.
        """
        configs, problems = [], []
        for path in self.paths:
            try:
                configs.append(self._load(path))
            except FileInvalid as error:
                problems += error.problems
        if problems:
            raise FileInvalid(problems)
        return merged(configs)

    def _load(self, path: Path) -> FileConfig:
        if self.named or path == self.default:
            return load(path, must_exist=bool(self.named))
        config = load(path, version="2")
        moving = "`config upgrade --relocate` moves it"
        warning = f"{path} is read, as there is no {self.default}; {moving}"
        return replace(config, warnings=(warning, *config.warnings))


def merged(configs: Sequence[FileConfig]) -> FileConfig:
    """Combine the contents of several files. A later file overrides an earlier one, key by key, and tunnel by tunnel.

    Replacing a tunnel with the same name gives a warning, as the rules of the first no longer apply.
    """
    if len(configs) == 1:
        return configs[0]
    said: dict[str, Any] = {}
    origins: dict[str, Path] = {}
    warnings: list[str] = []
    tunnels: dict[str, FileTunnel] = {}
    for config in configs:
        mine = {key: value for key in AGENT_KEYS if (value := getattr(config, key))}
        said |= mine
        origins |= dict.fromkeys(mine, config.path)
        warnings += config.warnings
        for one in config.tunnels:
            if one.name in tunnels:
                warnings.append(f"{one.where} replaces {tunnels[one.name].where}, with its rules")
            tunnels[one.name] = one
    return FileConfig(
        path=configs[-1].path,
        exists=True,
        tunnels=tuple(tunnels.values()),
        warnings=tuple(warnings),
        origins=origins,
        **said,
    )


def load(path: Path, *, must_exist: bool = False, version: str = "") -> FileConfig:
    """Read a configuration file.

    Args:
        must_exist: The user named the file; otherwise it may be missing.
        version: Version of the schema, for a file without one; "" if the file must contain it.

    Raises:
        FileInvalid: Lists every problem with its line.
    """
    text = read_text(path)
    if text is None:
        if must_exist:
            raise FileInvalid([f"{path}: there is no such file"])
        return FileConfig(path=path)
    return _Reader(path).read(parse(text, path), version)


def read_definition(name: str, entries: Mapping, *, is_endpoint: bool) -> FileTunnel:
    """Read a tunnel that is defined outside of a file, by the rules of a version 3 file.

    All problems belong to the tunnel.
    """
    return _Reader(None).read_one(YamlEntry(name, 1, entries), "endpoints" if is_endpoint else "tunnels")


def is_readable_by_others(path: Path) -> bool:
    """Return whether other users of this machine may read the file."""
    return os.name == "posix" and path.exists() and bool(path.stat().st_mode & 0o077)


class _Reader:
    """Reads the content of a file and collects the problems in it."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._problems: list[str] = []
        """Problems of the file as a whole. If there are any, no tunnel is started; problems of one tunnel affect only
        that tunnel."""
        self._warnings: list[str] = []
        self._said: dict[str, Any] = {}
        self._tunnels: tuple[FileTunnel, ...] = ()

    def read(self, top: Mapping, default_version: str) -> FileConfig:
        version = top.pop("version", None)
        match version.value if version else default_version or None:
            case "3":
                self._read_top(top)
            case "2":
                self._read_agent(top, is_v2=True)
            case None if version is None and not top:
                pass  # an empty file, or /dev/null in place of a file
            case other:
                line = version.line if version else 1
                what = (
                    "`version: 3` is missing"
                    if other is None
                    else f"version {other} is not supported, write version: 3"
                )
                self._problems.append(f"{self._path}:{line}: {what}")
        if self._problems:
            raise FileInvalid([*self._problems, *(what for one in self._tunnels for what in one.problems)])
        assert self._path is not None
        return FileConfig(
            path=self._path, exists=True, tunnels=self._tunnels, warnings=tuple(self._warnings), **self._said
        )

    def read_one(self, entry: YamlEntry, place: str) -> FileTunnel:
        """Return the tunnel that an entry defines, with all problems."""
        tunnel = read_definition_at(entry, place, self._at, self._unknown_in_definition(is_v2=False))
        return replace(tunnel, problems=(*self._problems, *tunnel.problems))

    def _read_top(self, top: Mapping) -> None:
        for entry in top.values():
            if entry.key == "agent" and isinstance(entry.value, dict):
                self._read_agent(entry.value, is_v2=False)
            elif entry.key == "agent":
                self._expect_empty(entry)
            elif entry.key in ("tunnels", "endpoints"):
                self._read_definitions(entry, is_v2=False)
            else:
                self._unknown(entry, "", is_v2=False)

    def _read_agent(self, mapping: Mapping, *, is_v2: bool) -> None:
        for entry in mapping.values():
            name = V2_NAMES.get(entry.key, entry.key) if is_v2 else entry.key
            if is_v2 and name == "tunnels":
                self._read_definitions(entry, is_v2=True)
            elif name not in AGENT_KEYS:
                self._unknown(entry, "" if is_v2 else "agent.", is_v2=is_v2)
            elif isinstance(entry.value, str):
                self._said[name] = self._check(entry, name, entry.value)
            else:
                self._expect_empty(entry)

    def _read_definitions(self, entry: YamlEntry, *, is_v2: bool) -> None:
        report_unknown = self._unknown_in_definition(is_v2=is_v2)
        if entry.key == "endpoints" and isinstance(entry.value, tuple):
            self._tunnels += read_endpoints(entry.items(self._path or Path()), self._at, report_unknown)
        elif entry.key == "endpoints" and entry.value:
            self._problem(entry, "endpoints has a value of the wrong kind: it is a list")
        else:
            self._tunnels += read_tunnels(entry, self._at, self._problem, report_unknown)

    def _check(self, entry: YamlEntry, name: str, value: str) -> str:
        if name == "console_ui" and value not in CONSOLE_UI:
            self._problem(entry, f"{entry.key} is one of {', '.join(CONSOLE_UI)}")
        if name == "connect_cas" and value in ("trusted", "host"):
            return ""
        return value

    def _expect_empty(self, entry: YamlEntry) -> None:
        if entry.value:
            self._problem(entry, f"{entry.key} has a value of the wrong kind")

    def _unknown_in_definition(self, *, is_v2: bool) -> ReportUnknown:
        return lambda entry, prefix, above: self._unknown(entry, prefix, is_v2=is_v2, above=above)

    def _unknown(self, entry: YamlEntry, prefix: str, *, is_v2: bool, above: str | None = None) -> str:
        """Report an unknown key.

        Args:
            prefix: The keys that lead to it.
            above: The part of `prefix` inside a tunnel's definition; None outside of one.

        Returns:
            The problem if it belongs to its tunnel only, else "".
        """
        near = _near(entry.key, prefix, above)
        hidden = _hidden(entry)
        if above == "" and entry.key in IN_A_DEFINITION:
            return "" if _is_off(entry) else f"{prefix}{entry.key} is not implemented here; {INSTEAD[entry.key]}"
        if above == "" and entry.key in WITHOUT_EFFECT:
            return ""
        if above is None and entry.key in OF_THE_AGENT:
            self._warnings.append(self._at(entry, f"{prefix}{entry.key} has no effect here"))
        elif hidden is not None and not is_restricting(entry.key):
            what = f"{hidden.key} restricts access, and does nothing inside of {prefix}{entry.key}"
            self._problem(hidden, f"{what}, a key that is not known here; {SEE_KEYS}")
        elif entry.key in RESTRICTING or above in INNER:
            known = INSTEAD | (IN_A_TUNNEL if above is None else {})
            what = f"{prefix}{entry.key} restricts access and is not implemented here"
            self._problem(entry, f"{what}; {known.get(entry.key, near or SEE_KEYS)}")
        elif is_restricting(entry.key):
            what = f"unknown key {prefix}{entry.key}, which looks as if it restricted access"
            self._problem(entry, f"{what}; {near or SEE_KEYS}")
        elif is_v2 and not near:
            self._warnings.append(self._at(entry, f"unknown key {prefix}{entry.key} is ignored"))
        else:
            more = near or INSTEAD.get(entry.key, "")
            self._problem(entry, f"unknown key {prefix}{entry.key}{f'; {more}' if more else ''}")
        return ""

    def _problem(self, entry: YamlEntry, what: str) -> None:
        self._problems.append(self._at(entry, what))

    def _at(self, entry: YamlEntry, what: str) -> str:
        return what if self._path is None else f"{self._path}:{entry.line}: {what}"


def is_restricting(key: str) -> bool:
    """Return whether a key's name suggests that it restricts access, even misspelt, in any style of writing."""
    if key in RESTRICTING:
        return True
    if key in AGENT_KEYS or key in OF_THE_AGENT or key in WITHOUT_EFFECT or key in DEFINITION_KEYS:
        return False
    return bool(_RESTRICTING_WORDS.search(key.lower())) or nearest(key, _RESTRICTING_NAMES) is not None


def _hidden(entry: YamlEntry) -> YamlEntry | None:
    """Return the first key below this one that restricts access; None without one."""
    return next((one for one in entry.below() if is_restricting(one.key)), None)


def _is_off(entry: YamlEntry) -> bool:
    """Return whether a key of ngrok has a value that turns its feature off."""
    return entry.key in MAY_BE_OFF and isinstance(entry.value, str) and entry.value.lower() in OFF


def _near(key: str, prefix: str, above: str | None) -> str:
    """Return the key that was probably meant by an unknown one; "" when no known key is similar."""
    if not prefix and key in AGENT_KEYS:
        return "it stands below `agent:`"
    known = DEFINITION_KEYS if above is not None else AGENT_KEYS if prefix else TOP_KEYS
    meant = nearest(f"{above}.{key}" if above else key, known)
    return f"did you mean `{meant}`?" if meant is not None else ""
