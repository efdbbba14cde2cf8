"""What the pages point at exists: links, headings, files, functions, flags, error codes."""

import ast
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import click
import pytest

from tests.bench.abuse import main as abuse
from tests.docs.examples import commands
from tests.support.every import every
from tests.support.tools import ROOT
from tunnelctl.cli.exits import Exit
from tunnelctl.cli.main import tunnel
from tunnelrelay.app import control_socket
from tunnelrelay.cli.main import cli as relay
from tunnelrelay.config.config import KEYS_FILE_NAME
from tunnelrelay.keys import assertion
from tunnelrelay.pages.errors import ERRORS
from tunnelrelay.store import store

DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
WALK, SECURITY, OKTA = DOCS / "concepts/walk-of-a-request.md", DOCS / "concepts/security.md", DOCS / "guides/okta.md"
PROVIDERS = [DOCS / f"guides/{name}.md" for name in ("auth0", "authentik", "entra-id", "google", "keycloak", "okta")]
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCES = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    return _FENCES.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The anchors a Markdown page has, as GitHub makes them of its headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@cache
def names_in(file: str) -> frozenset[str]:
    """Functions, classes and methods of a module, as `name` and `Class.name`."""
    names = set()
    for node in ast.parse((ROOT / file).read_text()).body:
        if isinstance(node, ast.ClassDef):
            names.add(node.name)
            names |= {f"{node.name}.{inner.name}" for inner in node.body if hasattr(inner, "name")}
        elif hasattr(node, "name"):
            names.add(node.name)
    return frozenset(names)


# Links


@every("page", PAGES)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in _LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.is_relative_to(ROOT) or not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def test_every_page_can_be_found_from_the_index() -> None:
    linked = {(DOCS / target).resolve() for target in _LINK.findall((DOCS / "README.md").read_text())}
    assert {page for page in DOCS.rglob("*.md") if page.name != "README.md"} <= linked


# Code


@every("page", PAGES)
def test_files_that_are_named_exist(page: Path) -> None:
    named = re.findall(r"`((?:server|tunnelctl|tests|docs)/[\w./-]+\.\w+)`", prose(page))
    assert [file for file in named if not (ROOT / file).exists()] == []


def test_the_walk_names_real_functions() -> None:
    parts = re.split(r"^### `(.+)`$", WALK.read_text(), flags=re.MULTILINE)
    walked = list(zip(parts[1::2], parts[2::2], strict=True))
    missing = [
        f"{file}: {name}"
        for file, text in walked
        for name in re.findall(r"`([A-Za-z_.]+)\(\)`", text.partition("\n## ")[0])
        if name not in names_in(file)
    ]
    assert missing == []
    assert len(walked) > 15


def test_the_walk_goes_through_every_module_of_the_way() -> None:
    walked = set(re.findall(r"^### `(.+)`$", WALK.read_text(), re.MULTILINE))
    assert {"server/tunnelrelay/ingress/exchange.py", "tunnelctl/link/link.py", "tunnelctl/agent/upstream.py"} <= walked


def test_the_data_directory_is_described_whole() -> None:
    described = set(re.findall(r"^\| `([\w.]+)` \|", SECURITY.read_text(), re.MULTILINE))
    assert described == {KEYS_FILE_NAME, assertion.FILE_NAME, store.FILE_NAME, control_socket.FILE_NAME}


# Words people type and read


def command_of(line: str) -> tuple[click.Command | None, list[str]]:
    """The command a shell line calls, and the words behind it, up to `--`: what follows is for another program."""
    words = [word for word in line.partition(" -- ")[0].split() if not re.match(r"[A-Z_]+=", word)]
    words = words[1:] if words[:1] == ["sudo"] else words
    command: click.Command | None = {"tunnel": tunnel, "tunnelrelay": relay}.get(words[0] if words else "")
    while isinstance(command, click.Group):
        words = words[1:]
        if not words or words[0].startswith("-"):
            break
        command = command.get_command(click.Context(command), words[0])
    return command, words[1:]


def flags_of(command: click.Command) -> set[str]:
    return {flag for option in command.get_params(click.Context(command)) for flag in option.opts}


@every("page", PAGES)
def test_flags_in_examples_exist(page: Path) -> None:
    unknown = []
    for line in commands(page.read_text()):
        command, words = command_of(line)
        if command is None:
            continue
        known = {flag for option in command.get_params(click.Context(command)) for flag in option.opts}
        unknown += [
            f"{line}: {word}" for word in words if word.startswith("--") and word.partition("=")[0] not in known
        ]
    assert unknown == []


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "guides/quick-start.md", *PROVIDERS], ids=name_of)
def test_flags_in_the_prose_exist(page: Path) -> None:
    known: set[str] = set()
    for group in (tunnel, relay):
        for name in group.list_commands(click.Context(group)):
            command = group.get_command(click.Context(group), name)
            assert command is not None
            known |= flags_of(command)
    known |= flags_of(abuse)
    assert set(re.findall(r"`(--[a-z][a-z-]+)", prose(page))) <= known


DASHBOARD = ROOT / "server" / "tunnelrelay" / "dashboard"


@pytest.mark.parametrize("name", ["edges", "named-provider", "self-hosting"])
def test_what_the_guides_say_to_press_stands_in_the_dashboard(name: str) -> None:
    sources = [*DASHBOARD.rglob("*.html"), *DASHBOARD.rglob("*.py")]
    words = "\n".join(file.read_text() for file in sources)
    text = " ".join(prose(DOCS / f"guides/{name}.md").split())
    pressed = [word for path in re.findall(r"\*\*([^*]+ → [^*]+)\*\*", text) for word in path.split(" → ")]
    pressed += re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", text)
    assert pressed
    assert [word for word in pressed if word not in words] == []


def test_the_codes_the_okta_guide_explains_exist() -> None:
    explained = set(re.findall(r"^\| `(\w+)`", OKTA.read_text().partition("## When it fails")[2], re.MULTILINE))
    assert explained <= set(ERRORS)
    logins = {"access_denied", "not_admitted", "provider_error", "provider_unreachable"}
    assert logins | {"login_restart", "login_state_invalid"} <= explained


def test_the_exit_codes_are_the_programs() -> None:
    table = re.findall(r"^\| (\d+) \| ", (DOCS / "guides/quick-start.md").read_text(), re.MULTILINE)
    assert [int(code) for code in table] == [0, *map(int, Exit)]


def test_the_readme_has_a_place_for_what_was_measured() -> None:
    text = (ROOT / "README.md").read_text()
    assert text.index("## Measured") < text.index("<!-- bench:begin -->") < text.index("<!-- bench:end -->")


@pytest.mark.parametrize("page", PROVIDERS, ids=name_of)
def test_a_providers_guide_says_what_it_was_not_tried_with_and_how_to_check(page: Path) -> None:
    text = page.read_text()
    assert "it has not been tried with a" in " ".join(text.split())
    assert re.search(r"^tunnel oidc check https://", text, re.MULTILINE)
    assert "https://idp.tun.example/oauth2/callback" in text
    assert "## Logging out, and changes during a session" in re.sub(r"## \d\. ", "## ", text)
