"""docs/reference/cli.md and agent-configuration.md name every command, flag, key and exit code, and no other."""

import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.cli.test_logs import Heard
from tests.docs import policy_tables
from tests.docs.api_commands import BEGIN, END, table
from tests.support.every import every
from tunnelctl.agent.configfile import AGENT_KEYS, load
from tunnelctl.agent.tunnelfile import TUNNEL_KEYS
from tunnelctl.agent.unsupported import IN_A_DEFINITION, MAY_BE_OFF, OF_THE_AGENT, WITHOUT_EFFECT
from tunnelctl.cli.exits import Exit, RunExit
from tunnelctl.cli.main import tunnel
from tunnelctl.cli.ngrok import NGROK
from tunnelrelay.cli.main import cli as tunnelrelay

DOCS = Path(__file__).parents[2] / "docs" / "reference"
TEXT = (DOCS / "cli.md").read_text()
CONFIGURATION = (DOCS / "agent-configuration.md").read_text()
PROGRAMS: dict[str, click.Command] = {"tunnel": tunnel, "tunnelrelay": tunnelrelay}


def commands(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by what is typed to reach it; those of `tunnel api` have a table instead."""
    if not isinstance(command, click.Group) or path == "tunnel api":
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        yield from commands(f"{path} {name}", inner)


COMMANDS = dict(pair for name, command in PROGRAMS.items() for pair in commands(name, command))


AS_HTTP = "All flags of [`tunnel http`](#tunnel-http) below **Login**, **Other rules** and **Headers** hold here too."
"""Stands in the section of a command for the tables of these flags."""


def section(path: str) -> str:
    """What the reference says about one command."""
    text = re.split(r"\n#{2,3} ", TEXT.partition(f"\n### `{path}`\n")[2])[0]
    return text.replace(AS_HTTP, TEXT.partition(policy_tables.BEGIN)[2].partition(policy_tables.END)[0])


def rows(text: str) -> list[list[str]]:
    """The cells of a text's table rows."""
    lines = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith(("| flag", "| key"))]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def options(command: click.Command) -> list[click.Option]:
    return [option for option in command.params if isinstance(option, click.Option) and not option.hidden]


def below_api(path: str = "tunnel api", command: click.Command = COMMANDS["tunnel api"]) -> dict[str, click.Command]:
    """Every command behind `tunnel api`, by what is typed to reach it."""
    if not isinstance(command, click.Group):
        return {path: command}
    context, found = click.Context(command), {}
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        found |= below_api(f"{path} {name}", inner)
    return found


API = below_api()


def test_the_table_of_the_apis_commands_is_the_codes():
    """`python -m tests.docs.api_commands --write` writes it."""
    assert f"{BEGIN}\n\n{table()}\n\n{END}" in TEXT
    assert [
        f"tunnel api {command}" for command in re.findall(r"^\| `([a-z -]+?)(?: [A-Z_]+)*` \| `[A-Z]", table(), re.M)
    ] == [*API]


@pytest.mark.parametrize("page", policy_tables.PAGES, ids=lambda page: page.name)
def test_the_tables_of_a_policys_settings_are_the_codes(page):
    """`python -m tests.docs.policy_tables --write` writes them."""
    written = page.read_text().partition(policy_tables.BEGIN)[2].partition(policy_tables.END)[0]

    assert written.strip() == policy_tables.PAGES[page]()


def test_every_command_has_a_section_and_every_section_a_command():
    assert re.findall(r"^### `(.+)`$", TEXT, re.MULTILINE) == list(COMMANDS)


@every("path", COMMANDS)
def test_a_commands_flags_are_the_codes(path):
    documented = [flag for row in rows(section(path)) for flag in re.findall(r"`(--[a-z0-9-]+)", row[0])]
    actual = [name for option in options(COMMANDS[path]) for name in (*option.opts, *option.secondary_opts)]
    assert sorted(documented) == sorted(name for name in actual if name.startswith("--"))


@pytest.mark.parametrize("path", [path for path in COMMANDS if path.startswith("tunnel ")])
def test_a_flags_variable_is_the_codes(path):
    documented = {re.findall(r"`(--[a-z0-9-]+)", row[0])[0]: row[1].strip("`") for row in rows(section(path))}
    actual = {option.opts[0]: option.envvar or "" for option in options(COMMANDS[path])}
    assert documented == actual


@every("path", COMMANDS)
def test_the_choices_of_a_flag_are_told(path):
    for option in options(COMMANDS[path]):
        if isinstance(option.type, click.Choice):
            row = next(row for row in rows(section(path)) if row[0].startswith(f"`{option.opts[0]} "))
            assert all(f"`{choice}`" in row[-1] for choice in option.type.choices)


NGROKS_API = re.compile(r"\n### Differences from ngrok api\n.*?(?=\n### )", re.DOTALL)
"""It names what is not here; `test_ngrok_commands.py` reads it."""


@pytest.mark.parametrize("text", [NGROKS_API.sub("", TEXT), CONFIGURATION], ids=["cli", "agent-configuration"])
def test_every_flag_in_the_prose_exists(text):
    all_of_them = [*COMMANDS.values(), *API.values()]
    known = {name.partition(".")[0] for command in all_of_them for option in options(command) for name in option.opts}
    known |= {name for command in all_of_them for option in options(command) for name in option.secondary_opts}
    known |= {name for option in COMMANDS["tunnel http"].params for name in option.opts} | {*NGROK.flags}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", text)) <= known | {"--version", "--help"}


@every("line", re.findall(r"^(tunnel(?:relay)? .+)$", "\n".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)), re.M))
def test_every_example_is_a_command_line(line):
    words = shlex.split(line)
    every = COMMANDS | API
    path = max((path for path in every if words[: len(path.split())] == path.split()), key=len)
    with every[path].make_context(path, words[len(path.split()) :]) as context:
        assert context.params


def test_the_exit_codes_are_the_codes():
    table = TEXT.partition("### Exit codes")[2].partition("###")[0]
    assert [int(row[0]) for row in rows(table) if row[0].isdigit()] == sorted([0, *map(int, Exit), *map(int, RunExit)])


@pytest.mark.parametrize("code", [*Exit, *RunExit])
def test_an_exit_code_means_what_the_code_says(code):
    table = TEXT.partition("### Exit codes")[2].partition("###")[0]
    (meaning,) = (row[1] for row in rows(table) if row[0] == str(int(code)))
    source = inspect.getsource(type(code)).partition(f"{code.name} = ")[2].partition('"""')[2].partition('"""')[0]
    assert plain_words(source)[:4] == plain_words(meaning)[:4]


def plain_words(text):
    return re.findall(r"[\w'-]+", text.lower())


def test_the_log_messages_are_the_codes():
    from tests.cli.fakes import exchange
    from tunnelctl.agent.watcher import Started, Waiting

    heard = Heard("info")
    watcher = heard.watcher
    watcher.lost("x", 0.1, "")
    watcher.connected("r", "o")
    labels = (("a", "b"),)
    watcher.started(Started(name="n", upstream="u", url="https://a", let_in="anyone", redirect_uri="r", labels=labels))
    watcher.waiting(Waiting(name="n", upstream="u", owner="o", labels=labels, edge="e", reason="x"))
    watcher.app("u", "x")
    watcher.app("u", "")
    watcher.ended("n", "x")
    watcher.removed("n")
    watcher.left("n", "https://a")
    watcher.unready("https://a", "x")
    watcher.exchange("n", exchange())
    watcher.lost("y", 0.1, "")
    watcher.moving("x")
    watcher.draining(0)
    table = TEXT.partition("### The log")[2].partition("\n## ")[0]
    documented = {
        row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in rows(table) if row[0].startswith("`")
    }
    written = {str(record["msg"]): set(record) - {"msg", "lvl", "obj"} for record in heard.records}
    assert {name: keys - {"err"} for name, keys in documented.items() if name != "msg"} == {
        name: keys - {"err"} for name, keys in written.items()
    }


def test_the_keys_of_the_agents_file_are_the_codes():
    documented = [row[0].strip("`") for row in rows(CONFIGURATION)]
    assert documented[: len(AGENT_KEYS)] == list(AGENT_KEYS)
    assert sorted(documented[len(AGENT_KEYS) :]) == sorted(TUNNEL_KEYS)


def test_ngroks_keys_that_are_refused_or_have_no_effect_are_the_codes():
    text = CONFIGURATION.partition("## Files that were written for ngrok")[2].replace("\n  ", " ")
    for keys in (IN_A_DEFINITION, MAY_BE_OFF, WITHOUT_EFFECT, OF_THE_AGENT):
        assert ", ".join(f"`{key}`" for key in sorted(keys)) in text


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", CONFIGURATION, re.DOTALL))
def test_every_example_is_a_configuration(text, tmp_path):
    path = tmp_path / "tunnel.yml"
    path.write_text(text)
    assert load(path).authtoken
