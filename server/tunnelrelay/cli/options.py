"""Command-line options that several `tunnelrelay` commands share, and `run`, which runs a command on a store."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tunnelctl.cli.command import Decorator
from tunnelctl.cli.exits import Exit, Failure, Mistake
from tunnelrelay.config.config import SETTINGS, RelayConfig, load_data_dir, load_database, load_keys_file
from tunnelrelay.config.sources import ConfigError, flag_name

CONFIG_HINT = "tunnelrelay serve --help lists all settings, docs/reference/configuration.md explains them"


CONFIG: Decorator = click.option(
    "--config",
    "config_file",
    metavar="FILE",
    envvar="TUNNELRELAY_CONFIG",
    help="TOML file with settings of the same names, as in `tls_cert`. Variable: TUNNELRELAY_CONFIG.",
)
SETTING_SECTIONS = {
    "Addresses": ("domain", "http", "https", "public_url", "trusted_proxy", "tcp_ports", "admin"),
    "TLS": ("tls_cert", "tls_key", "endpoint_hsts_seconds"),
    "Data": ("data_dir", "database", "keys_file", "key_rotation_seconds", "audit_days"),
    "Owners and names": ("multi_tenant", "name_cooldown_seconds", "shared_callback_owner", "trust_rule"),
    "Visitors' logins": ("callback_url", "issuer_network", "issuer_port", "issuer_ca"),
    "Limits and times": ("visitor_requests", "hold_seconds", "drain_seconds", "idle_seconds"),
    "Log": ("log_format", "log_level"),
}
"""Sections of `serve --help`: each title with the names of its settings. `setting_sections` adds the dashboard's."""


def setting_sections() -> dict[str, tuple[Decorator, ...]]:
    """Return click options for all settings, by their section in the help.

    Click does not convert their values: `load_config` does, and reports all mistakes together.
    """
    placed = {name for names in SETTING_SECTIONS.values() for name in names}
    rest = [name for name in SETTINGS if name not in placed]
    named = {
        **SETTING_SECTIONS,
        "Dashboard": [name for name in rest if name.startswith("dashboard")],
        "Other settings": [name for name in rest if not name.startswith("dashboard")],
    }
    return {"Configuration": (CONFIG,), **{title: tuple(map(_option, names)) for title, names in named.items()}}


def _option(name: str) -> Decorator:
    known = SETTINGS[name]
    return click.option(
        flag_name(name), name, metavar=known.shape, multiple=known.is_list, help=_help(name), default=None
    )


def _help(name: str) -> str:
    field = RelayConfig.__dataclass_fields__[name]
    default = field.default
    if name == "data_dir":
        return f"{SETTINGS[name].doc} [default: the platform's data directory, or systemd's state directory]"
    repeat = " May be given several times." if SETTINGS[name].is_list else ""
    shown = f"{default:g}" if isinstance(default, float) else default
    return f"{SETTINGS[name].doc}{repeat}" + (f" [default: {shown}]" if shown else "")


_DATA: tuple[Decorator, ...] = (
    CONFIG,
    click.option("--data-dir", metavar="DIR", help="The relay's data directory; as for `serve`."),
    click.option("--database", metavar=SETTINGS["database"].shape, help="The relay's database; as for `serve`."),
)
_JSON: Decorator = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
_KEYS: Decorator = click.option("--keys-file", metavar="FILE", help="Where the key ring lies; as for `serve`.")
STORED = {"Where the relay keeps its data": _DATA, "Output": (_JSON,)}
"""Options of the commands that read or change a relay's store."""
WITH_KEYS = {"Where the relay keeps its data": (_KEYS, *_DATA), "Output": (_JSON,)}
"""Options of the commands that read or change a relay's keys."""
ARCHIVED = {"Where the relay keeps its data": (_KEYS, *_DATA)}
"""Options of the backup commands, which use store and keys and print no JSON."""


# Running


def keys_file(where: dict[str, Any]) -> Path:
    """Return the path of the key ring, as flags, environment and configuration file give it."""
    flags = {name: where[name] for name in ("data_dir", "keys_file")}
    file: Path = loaded(load_keys_file, where["config_file"], flags)
    return file


def run(action: Callable[..., None], where: dict[str, Any], *args: object) -> None:
    """Call a command's function with the `Place` of the store that the options name.

    Args:
        action: Gets the place, `args`, and `as_json` for commands that have `--json`.
        where: The command's options about the store.

    Raises:
        Failure: The options or the configuration are wrong, or the command failed.
    """
    from tunnelrelay.cli.store import Place

    data_dir = loaded(load_data_dir, where["config_file"], {"data_dir": where["data_dir"]})
    database = loaded(load_database, where["config_file"], {"database": where["database"]})
    action(Place(data_dir, database), *args, **{name: where[name] for name in ("as_json",) if name in where})


def loaded(load: Callable[..., Any], config_file: str | None, flags: dict[str, object]) -> Any:
    """Return the configuration that `load` reads from flags, environment and file.

    Raises:
        Failure: The configuration is wrong; the error has every mistake with its source.
    """
    file = None if config_file is None else Path(config_file)
    try:
        return load(flags=flags, env=os.environ, file=file)
    except ConfigError as error:
        mistakes = [Mistake(f"{one.origin}: {one.message}", one.hint) for one in error.problems]
        raise Failure(Exit.USAGE, mistakes, "" if all(one.hint for one in mistakes) else CONFIG_HINT) from error
