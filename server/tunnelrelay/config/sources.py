"""Finds the values of settings in flags, `TUNNELRELAY_*` variables and the TOML file; flags win, then variables.

Values are not checked here. Unknown names are errors, never skipped: a misspelt key that restricts access must not open
the relay.
"""

import json
import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from tunnelctl.nearest import nearest
from tunnelrelay.config.values import Setting

PREFIX = "TUNNELRELAY_"
MAX_FILE_SIZE = 1 << 20
"""Bytes of a configuration file. A real one has a few lines; a larger file is the wrong one."""

_SERVICE_LINK = re.compile(r"TUNNELRELAY_(SERVICE_(HOST|PORT.*)|PORT(_.*)?)")
"""Variables that Kubernetes sets in every pod when there is a Service named `tunnelrelay`. They are no settings."""


@dataclass(frozen=True, slots=True)
class SettingProblem:
    """One mistake in the settings.

    Attributes:
        origin: The flag, the variable, or the file and key that the mistake is in.
    """

    origin: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.origin}: {self.message}" + (f" (hint: {self.hint})" if self.hint else "")


class ConfigError(Exception):
    """Raised when the configuration cannot be used. It holds every mistake found, in the order of the sources."""

    def __init__(self, problems: list[SettingProblem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Raw:
    """The unread value of a setting, as a source gives it.

    Attributes:
        texts: One text, or several for a setting given several times or as an array.
        origin: The flag, the variable, or the file and key that the value comes from.
        base: The directory that relative paths start from; None for the working directory.
    """

    texts: tuple[str, ...]
    origin: str
    base: Path | None = None


def gather(
    settings: Mapping[str, Setting], *, flags: Mapping[str, object], env: Mapping[str, str], file: Path | None
) -> tuple[dict[str, Raw], list[SettingProblem]]:
    """Return the value of each setting that was given, from the source that wins, and the mistakes in the sources.

    Args:
        settings: All settings, by name.
        flags: What click parsed, by the setting's name; None and () mean not given.
        env: The process's environment; variables without the prefix `TUNNELRELAY_` are skipped.
        file: The TOML file, or None.
    """
    problems: list[SettingProblem] = []
    found: dict[str, Raw] = {}
    if file is not None:
        found |= _from_file(settings, file, problems)
    found |= _from_env(settings, env, problems)
    found |= _from_flags(flags)
    return found, problems


def flag_name(name: str) -> str:
    """Return the flag of a setting: `--tls-cert` for `tls_cert`."""
    return "--" + name.replace("_", "-")


def variable_name(name: str) -> str:
    """Return the environment variable of a setting: `TUNNELRELAY_TLS_CERT` for `tls_cert`."""
    return PREFIX + name.upper()


def _from_flags(flags: Mapping[str, object]) -> dict[str, Raw]:
    return {
        name: Raw(_texts(value), flag_name(name)) for name, value in flags.items() if value is not None and value != ()
    }


def _from_env(names: Collection[str], env: Mapping[str, str], problems: list[SettingProblem]) -> dict[str, Raw]:
    found = {}
    for variable, value in env.items():
        if not variable.startswith(PREFIX) or variable == PREFIX + "CONFIG" or _SERVICE_LINK.fullmatch(variable):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name in names:
            found[name] = Raw((value,), variable)
        else:
            problems.append(SettingProblem(variable, "there is no such setting", _nearest(name, names, variable_name)))
    return found


def _from_file(settings: Mapping[str, Setting], file: Path, problems: list[SettingProblem]) -> dict[str, Raw]:
    found = {}
    for key, value in _read_toml(file, problems).items():
        origin = f"{file}: {key}"
        if key not in settings:
            problems.append(SettingProblem(origin, "there is no such setting", _nearest(key, settings, str)))
        elif settings[key].is_table:
            if isinstance(value, list) and all(isinstance(each, dict) for each in value):
                found[key] = Raw(tuple(json.dumps(each, default=str) for each in value), origin)
            else:
                problems.append(SettingProblem(origin, f"write it as a table, below `[[{key}]]`"))
        elif isinstance(value, dict) or (isinstance(value, list) and not _is_plain(value, settings[key])):
            problems.append(SettingProblem(origin, "a value is text, a number, or an array of texts"))
        else:
            found[key] = Raw(_texts(value), origin, file.absolute().parent)
    return found


def _is_plain(array: list[object], setting: Setting) -> bool:
    return all(isinstance(v, str) or (setting.is_number and type(v) is int) for v in array)


def _read_toml(file: Path, problems: list[SettingProblem]) -> dict[str, object]:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_FILE_SIZE + 1)
        if len(data) > MAX_FILE_SIZE:
            problems.append(
                SettingProblem(
                    str(file), f"the file has more than {MAX_FILE_SIZE} bytes", "is it the relay's configuration?"
                )
            )
            return {}
        return tomllib.loads(data.decode())
    except OSError as problem:
        why = (problem.strerror or type(problem).__name__).lower()
        hint = "name the file with --config or TUNNELRELAY_CONFIG; the relay's user must be able to read it"
        problems.append(SettingProblem(str(file), f"the file cannot be read: {why}", hint))
    except UnicodeDecodeError:
        problems.append(SettingProblem(str(file), "the file is not UTF-8 text", "is it the relay's configuration?"))
    except ValueError as problem:  # its message names line and column
        hint = 'a line is `name = "value"`, as in `domain = "tun.example"`'
        problems.append(SettingProblem(str(file), f"the file is not TOML: {problem}", hint))
    return {}


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list | tuple) else (str(value),)


def _nearest(name: str, names: Collection[str], spell: Callable[[str], str]) -> str:
    near = nearest(name, names)
    return f"did you mean `{spell(near)}`?" if near is not None else ""
