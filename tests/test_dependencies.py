"""What the packages import is declared in pyproject.toml, and what is declared is used."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions

from tests.support.tools import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
AGENT = PROJECT["project"]["dependencies"]
SERVER = PROJECT["project"]["optional-dependencies"]["server"]
OWN = {"tunnelctl", "tunnelrelay"}
LOADED_BY_NAME = {"python-multipart": "starlette reads uploaded forms with it"}
"""Declared, and imported by another library only."""
PARTS = {"pydantic-core": "pydantic"}
"""Distributions that another one pins exactly and documents as its own."""


def names(requirements: Iterable[str]) -> set[str]:
    """The distributions that requirements name, spelled as PyPI compares them (PEP 503)."""
    return {_normal(re.split(r"[\[<>=;! ]", requirement, maxsplit=1)[0]) for requirement in requirements}


def imported(folder: str) -> set[str]:
    """The distributions whose modules a folder's product code imports, type checking apart."""
    found: set[str] = set()
    for file in (ROOT / folder).rglob("*.py"):
        tree = ast.parse(file.read_text())
        only_typed = {
            each
            for block in ast.walk(tree)
            if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
            for each in ast.walk(block)
        }
        for node in ast.walk(tree):
            if node in only_typed:
                continue
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                found.add(node.module.split(".")[0])
    known = packages_distributions()
    distributions = {_normal(known[module][0]) for module in found - sys.stdlib_module_names - OWN}
    return {PARTS.get(name, name) for name in distributions}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_agent_declares_what_it_imports_and_nothing_else() -> None:
    assert imported("tunnelctl") == names(AGENT)


def test_the_relay_declares_what_it_imports_beyond_the_agents_and_nothing_else() -> None:
    assert imported("server/tunnelrelay") - names(AGENT) == names(SERVER) - LOADED_BY_NAME.keys()


def test_an_import_that_is_not_declared_would_be_found() -> None:
    assert {"click", "httptools"} <= imported("tunnelctl")
    assert "pytest" in imported("tests/support") - names(AGENT) - names(SERVER)
