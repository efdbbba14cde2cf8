"""Who may import whom, and what no file may say. The rules are the data at the top."""

import ast
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"tunnelctl": ROOT / "tunnelctl", "tunnelrelay": ROOT / "server" / "tunnelrelay"}

SHARED = "tunnelctl.wire tunnelctl.policy tunnelctl.http1 tunnelctl.link"
GROUND = "tunnelrelay.model tunnelrelay.ids tunnelrelay.address tunnelrelay.config"
MIDDLE = "tunnelrelay.store tunnelrelay.registry tunnelrelay.policy tunnelrelay.observe"
OIDC_MIDDLE = "tunnelrelay.keys tunnelrelay.store tunnelrelay.policy tunnelrelay.observe"

MAY_USE: dict[str, str] = {
    # The bottom floor both ends share, then the agent.
    "tunnelctl.bounds": "",
    "tunnelctl.eventlog": "",
    "tunnelctl.memo": "",
    "tunnelctl.wire": "",
    "tunnelctl.http1": "",
    "tunnelctl.oidc": "tunnelctl.policy",
    "tunnelctl.line_writer": "",
    "tunnelctl.policy": "tunnelctl.wire",
    "tunnelctl.secret": "",
    "tunnelctl.secret_source": "",
    "tunnelctl.nearest": "",
    "tunnelctl.series": "",
    "tunnelctl.look": "tunnelctl.series",
    "tunnelctl.openfiles": "",
    "tunnelctl.signals": "",
    "tunnelctl.stdio": "",
    "tunnelctl.link": "tunnelctl.wire",
    "tunnelctl.agent": f"{SHARED} tunnelctl.oidc tunnelctl.nearest",
    "tunnelctl.localapi": "tunnelctl.wire tunnelctl.http1 tunnelctl.agent",
    "tunnelctl.devissuer": "tunnelctl.localapi",
    "tunnelctl.inspector": "tunnelctl.wire tunnelctl.http1 tunnelctl.agent tunnelctl.localapi tunnelctl.secret "
    "tunnelctl.look tunnelctl.series",
    "tunnelctl.cli": f"{SHARED} tunnelctl.oidc tunnelctl.agent tunnelctl.localapi tunnelctl.devissuer "
    "tunnelctl.inspector tunnelctl.secret tunnelctl.secret_source tunnelctl.line_writer tunnelctl.nearest "
    "tunnelctl.signals tunnelctl.openfiles tunnelctl.stdio tunnelctl.forwarding",
    "tunnelctl.forwarding": "tunnelctl.wire tunnelctl.policy tunnelctl.link tunnelctl.agent tunnelctl.secret",
    "tunnelctl.api": "tunnelctl.policy tunnelctl.forwarding tunnelctl.cli tunnelctl.secret",
    # The relay, floor by floor.
    "tunnelrelay.model": "",
    "tunnelrelay.ids": "",
    "tunnelrelay.address": "tunnelrelay.model tunnelctl.wire",
    "tunnelrelay.config": "tunnelrelay.address tunnelctl.wire tunnelctl.policy tunnelctl.secret "
    "tunnelctl.secret_source tunnelctl.nearest",
    "tunnelrelay.pages": GROUND,
    "tunnelrelay.policy": f"tunnelctl.wire tunnelctl.policy tunnelctl.http1 tunnelctl.oidc tunnelctl.secret {GROUND}",
    "tunnelrelay.store": GROUND,
    "tunnelrelay.observe": f"tunnelctl.line_writer tunnelctl.secret tunnelctl.series {GROUND} tunnelrelay.store",
    "tunnelrelay.registry": f"{SHARED} {GROUND} tunnelrelay.policy",
    "tunnelrelay.keys": f"tunnelctl.oidc {GROUND} tunnelrelay.observe",
    "tunnelrelay.oidc": "",
    "tunnelrelay.oidc.tokens": f"tunnelctl.oidc {GROUND} tunnelrelay.policy",
    "tunnelrelay.oidc.providers": f"tunnelctl.oidc tunnelctl.agent.preflight {GROUND} tunnelrelay.policy "
    "tunnelrelay.oidc.tokens",
    "tunnelrelay.oidc.sessions": f"tunnelctl.oidc {GROUND} {OIDC_MIDDLE} tunnelrelay.oidc.tokens "
    "tunnelrelay.oidc.providers",
    "tunnelrelay.oidc.login": f"tunnelctl.http1 tunnelctl.oidc {GROUND} {OIDC_MIDDLE} tunnelrelay.pages "
    "tunnelrelay.oidc.tokens tunnelrelay.oidc.providers tunnelrelay.oidc.sessions",
    "tunnelrelay.oidc.logout": f"tunnelctl.oidc {GROUND} {OIDC_MIDDLE} tunnelrelay.pages tunnelrelay.oidc.tokens "
    "tunnelrelay.oidc.providers tunnelrelay.oidc.sessions tunnelrelay.oidc.login",
    "tunnelrelay.agents": f"{SHARED} {GROUND} {MIDDLE}",
    # A database that is away must not stop tunnels that are up: the public side cannot even name the store.
    "tunnelrelay.ingress": f"{SHARED} {GROUND} tunnelrelay.registry tunnelrelay.policy tunnelrelay.observe "
    "tunnelrelay.pages tunnelrelay.oidc.tokens tunnelrelay.oidc.sessions tunnelrelay.oidc.login",
    "tunnelrelay.web": f"{GROUND} tunnelrelay.pages tunnelrelay.keys tunnelrelay.oidc.login tunnelrelay.oidc.logout",
    # What is set up while the relay runs, and the two ways to ask for it.
    "tunnelrelay.services": f"{SHARED} {GROUND} {MIDDLE} tunnelctl.oidc tunnelctl.secret tunnelctl.series "
    "tunnelrelay.keys tunnelrelay.oidc.sessions tunnelrelay.oidc.login tunnelrelay.agents",
    # The store's rows only: what is in them is shown, asking for them is for `services`.
    "tunnelrelay.api": f"{GROUND} tunnelctl.wire tunnelctl.policy tunnelctl.oidc tunnelrelay.store "
    "tunnelrelay.policy tunnelrelay.services tunnelrelay.web",
    "tunnelrelay.dashboard": f"{GROUND} tunnelctl.wire tunnelctl.policy tunnelctl.oidc tunnelctl.secret "
    "tunnelctl.series tunnelctl.look "
    "tunnelrelay.services tunnelrelay.web tunnelrelay.pages tunnelrelay.oidc.login tunnelrelay.policy "
    "tunnelrelay.store",
}
"""Areas (packages and single modules) and what each may import of ours besides itself."""

EVERYWHERE = ("tunnelctl.bounds", "tunnelctl.eventlog", "tunnelctl.memo")
"""What every area may import: the declaration of limits, the log, the cache of peers' bytes."""

TOP = {
    "tunnelctl.__main__",
    "tunnelrelay.__main__",
    "tunnelrelay.app",
    "tunnelrelay.cli",
}
"""What wires the parts together may import every floor, and no floor may import it."""

PURE = ("tunnelctl.wire", "tunnelctl.policy", "tunnelctl.http1", "tunnelctl.oidc", "tunnelrelay.policy")
IMPURE_MODULES = {"asyncio", "os", "random", "secrets", "select", "socket", "ssl", "subprocess", "threading", "time"}
"""What Sans-I/O code must not touch: the clock, the network and chance come in as arguments."""

FORBIDDEN_WORDS = {
    r"\b(TODO|FIXME|XXX|HACK)\b": "unfinished work",
    r"(?<![\w.}])/(home|root|work|Users)/\w": "a path of somebody's machine",
    r"\bverify\s*=\s*False\b": "TLS without verification",
    r"\bpickle\b|\beval\(": "data run as code",
}
TEXT_SUFFIXES = {".py", ".md", ".html", ".toml", ".mjs", ".ini", ".css", ".yaml", ".yml", ""}


def module_name(path: Path) -> str:
    """`.../tunnelctl/wire/session.py` -> `tunnelctl.wire.session`."""
    root = next(root for root in PACKAGES.values() if path.is_relative_to(root))
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, Path]:
    """Every module of both packages; migrations are scripts that Alembic runs, not modules."""
    found = (path for root in PACKAGES.values() for path in sorted(root.rglob("*.py")))
    return {module_name(path): path for path in found if "migrations" not in path.parts}


@cache
def tree(name: str) -> ast.Module:
    """The parsed module."""
    return ast.parse(modules()[name].read_text())


def imported(name: str) -> Iterator[str]:
    """Names a module imports, wherever in it; `from a import b` gives `a.b` when that is a module, else `a`."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in modules() else node.module


def ours(name: str) -> list[str]:
    """What a module imports of our two packages."""
    return [used for used in imported(name) if used.split(".")[0] in PACKAGES]


def area(name: str) -> str:
    """The room a module is in, the deepest that `MAY_USE` names: `tunnelctl.wire.session` -> `tunnelctl.wire`."""
    parts = name.split(".")
    rooms = (".".join(parts[:length]) for length in range(len(parts), 2, -1))
    return next((room for room in rooms if room in MAY_USE), ".".join(parts[:2]))


def is_in(name: str, rooms: set[str]) -> bool:
    """Whether a module is one of these, or in one of them."""
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def test_every_area_has_a_floor():
    assert {area(name) for name in modules()} - MAY_USE.keys() - PACKAGES.keys() - TOP == set(), "add it to MAY_USE"


def test_no_import_runs_up_a_floor():
    up = []
    for name in sorted(name for name in modules() if area(name) not in TOP):
        allowed = {area(name), *EVERYWHERE, *MAY_USE.get(area(name), "").split()}
        used_names = [used for used in ours(name) if used not in PACKAGES]
        up += [f"{name} -> {used}" for used in used_names if not is_in(used, allowed)]

    assert up == []


def folders() -> set[str]:
    """The areas that are folders, without the folder that only holds others."""
    return {name for name in (*MAY_USE, *TOP) if name in modules() and modules()[name].name == "__init__.py"} - {
        "tunnelrelay.oidc"
    }


def drawn_floors() -> dict[str, int]:
    """Each folder's floor as `docs/concepts/architecture.md` draws it; its first drawing is the one of today."""
    drawing = (ROOT / "docs" / "concepts" / "architecture.md").read_text().split("```text\n")[1].split("```")[0]
    lines = re.findall(r"^ *(\d+)  (\S+)  ", drawing, re.MULTILINE)
    return {folder.replace("/", "."): int(floor) for floor, folder in lines}


def test_the_drawing_shows_every_folder_above_all_that_it_may_use():
    floors = drawn_floors()
    assert floors.keys() == folders()

    used = {here: {*EVERYWHERE, *MAY_USE[here].split()} if here in MAY_USE else set(MAY_USE) for here in floors}
    wrong = [
        f"{here} -> {other}"
        for here, allowed in used.items()
        for other in floors.keys() - {here}
        if is_in(other, allowed) and floors[other] >= floors[here]
    ]

    assert wrong == []


def test_the_agent_never_imports_the_relay():
    guilty = {name for name in modules() if name.startswith("tunnelctl") for used in ours(name) if "relay" in used}

    assert guilty == set()


def test_no_two_files_import_each_other_in_a_circle():
    graph = {name: {used for used in ours(name) if used != name} for name in modules()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("circle: " + " -> ".join(error.args[1]))


def test_sans_io_code_touches_no_clock_network_or_chance():
    pure = sorted(name for name in modules() if name.startswith(PURE))
    touched = [f"{name}: {used}" for name in pure for used in imported(name) if used.split(".")[0] in IMPURE_MODULES]
    waits = [
        f"{name}:{node.lineno}"
        for name in pure
        for node in ast.walk(tree(name))
        if isinstance(node, ast.AsyncFunctionDef | ast.Await)
    ]

    assert touched == []
    assert waits == []


def classes(name: str) -> Iterator[ast.ClassDef]:
    """The classes that a module defines."""
    return (node for node in ast.walk(tree(name)) if isinstance(node, ast.ClassDef))


def api_models() -> set[str]:
    """The API's models. Their names stand in the published schema, which calls things as the product does."""
    models = {"BaseModel"}
    found = [node for name in modules() if name.startswith("tunnelrelay.api.") for node in classes(name)]
    for _ in found:
        models |= {node.name for node in found if any(ast.unparse(base) in models for base in node.bases)}
    return models


def test_a_class_name_occurs_once():
    places: dict[tuple[str, bool], list[str]] = {}
    models = api_models()
    for name in modules():
        for node in classes(name):
            is_model = name.startswith("tunnelrelay.api.") and node.name in models
            places.setdefault((node.name, is_model), []).append(name)

    assert {key[0]: found for key, found in places.items() if len(found) > 1} == {}


def texts() -> Iterator[Path]:
    """Every text file a reader of the repository sees, but this one, which names what it forbids."""
    kept = [ROOT / "README.md", ROOT / "Makefile", ROOT / "CHANGELOG.md", ROOT / "pyproject.toml", ROOT / ".ci" / "run"]
    skipped = {"node_modules", "__pycache__", "artifacts", "out", "bin", ".venv"}
    for folder in ("tunnelctl", "server", "tests", "docs"):
        kept += [path for path in sorted((ROOT / folder).rglob("*")) if path.is_file()]
    for path in kept:
        if path.suffix in TEXT_SUFFIXES and path != Path(__file__).resolve() and not skipped & set(path.parts):
            yield path


def test_no_file_says_what_it_must_not():
    found = [
        f"{path.relative_to(ROOT)}:{number}: {why}"
        for path in texts()
        if path.exists()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        for pattern, why in FORBIDDEN_WORDS.items()
        if re.search(pattern, line)
    ]

    assert found == []


def test_every_package_says_where_to_start_reading():
    silent = [
        name for name, path in modules().items() if path.name == "__init__.py" and not ast.get_docstring(tree(name))
    ]

    assert silent == []


def comments(path: Path) -> Iterator[tuple[int, str]]:
    """A file's comments by their lines."""
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


EXCEPTION = re.compile(r"(?:type: ignore|noqa)(?:\[[a-z, -]+\]|: [A-Z]+[0-9]+(?:, [A-Z]+[0-9]+)*)?")
"""What makes a checker overlook a line."""


def test_every_exception_from_a_check_says_why():
    silent = [
        f"{path.relative_to(ROOT)}:{number}: {comment}"
        for path in texts()
        if path.suffix == ".py"
        for number, comment in comments(path)
        if (found := EXCEPTION.search(comment)) and not re.search(r"[a-z]{3}", comment[found.end() :])
    ]

    assert silent == []


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_names(path: Path) -> Iterator[str]:
    """What a test takes of the product's by a private name, where the linter does not see it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PACKAGES:
            yield from (alias.name for alias in node.names if is_private(alias.name))
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("setattr", "delattr"):
            given = [each.value for each in node.args[:2] if isinstance(each, ast.Constant)]
            yield from (text for text in given if isinstance(text, str) and any(map(is_private, text.split("."))))


def test_no_test_reaches_into_what_is_private():
    """Attributes are for the linter (SLF001); `tests/bounds/driving.py` has the tables that a bound names."""
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in texts()
        if path.suffix == ".py" and path.is_relative_to(ROOT / "tests")
        for name in private_names(path)
    ]

    assert found == []
