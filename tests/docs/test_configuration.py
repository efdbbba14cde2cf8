"""docs/reference/configuration.md and the guide name every setting of the relay as it is, and no other."""

import re
import tomllib
from pathlib import Path

import pytest

from tunnelrelay.config.config import SETTINGS, RelayConfig, load_config
from tunnelrelay.config.sources import ConfigError, flag_name, variable_name

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "reference" / "configuration.md").read_text().partition("## Relay")[2].partition("\n## ")[0]
GUIDE = (DOCS / "guides" / "self-hosting.md").read_text()


def default(name: str) -> str:
    value = RelayConfig.__dataclass_fields__[name].default
    if name == "data_dir":
        return "see below"
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return f"`{value}`".lower()
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def test_the_table_of_settings_is_the_codes() -> None:
    rows = [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in TEXT.splitlines()
        if line.startswith("| `")
    ]
    assert rows == [
        [f"`{name}`", f"`{flag_name(name)}`", f"`{variable_name(name)}`", f"`{known.shape}`", default(name), known.doc]
        for name, known in SETTINGS.items()
    ]


@pytest.mark.parametrize("text", re.findall(r"```toml\n(.*?)```", TEXT + GUIDE, re.DOTALL))
def test_every_example_is_a_configuration(text: str, tmp_path: Path) -> None:
    for name in ("fullchain.pem", "privkey.pem"):
        (tmp_path / name).touch()
    text = text.replace("/etc/tunnelrelay", str(tmp_path))
    file = tmp_path / "relay.toml"
    file.write_text(text)
    config = load_config(flags={}, env={}, file=file)
    assert config.given == set(tomllib.loads(text))
    assert config.domain == "tun.example"
    assert config.scheme == "https"
    assert config.needs_tokens


def test_what_is_said_to_be_refused_is_refused() -> None:
    with pytest.raises(ConfigError, match="plain http is refused"):
        load_config(flags={"domain": "tun.example"}, env={})


def test_flags_and_variables_in_the_prose_exist() -> None:
    flags = {flag_name(name) for name in SETTINGS} | {"--config", "--owner"}
    variables = {variable_name(name) for name in SETTINGS} | {"TUNNELRELAY_CONFIG"}
    assert set(re.findall(r"--[a-z][a-z-]+", TEXT)) <= flags
    assert set(re.findall(r"TUNNELRELAY_\w+", TEXT + GUIDE)) <= variables


def test_settings_the_guide_speaks_of_exist() -> None:
    assert {"public_url", "trusted_proxy", "hold_seconds", "drain_seconds"} <= set(SETTINGS)
    for word in re.findall(r"`([a-z]+_(?:url|proxy|seconds|cert|key|dir|format))`", TEXT + GUIDE):
        assert word in SETTINGS, word


def test_the_service_is_stopped_later_than_the_relay_drains() -> None:
    [stop] = re.findall(r"^TimeoutStopSec=(\d+)$", GUIDE, re.MULTILINE)
    assert int(stop) > RelayConfig().drain_seconds
