"""What the code declares in its `BOUNDS`, and which attributes can grow, found in the source.

An attribute grows when it is made empty and filled later: `self.x = {}`, `[]`, `set()`, `deque()`, a cache, a table of
buckets. What a module makes at its top level, and functions whose results are remembered, count too.
"""

import ast
import importlib
from collections.abc import Iterator
from functools import cache

from tests.test_architecture import modules, tree
from tunnelctl.bounds import DeclaredBound

AREAS = (
    "tunnelrelay",
    *("tunnelctl.line_writer", "tunnelctl.memo", "tunnelctl.wire"),
    *("tunnelctl.http1", "tunnelctl.link", "tunnelctl.oidc", "tunnelctl.series", "tunnelctl.look"),
    "tunnelctl.inspector",
)
"""The relay, what it shares with the agent, and what visitors make the agent keep."""
WITHOUT = (
    "tunnelrelay.cli",
    "tunnelrelay.api.",
)
"""Commands end when they are done; models of the API live for one request, whose body is bounded."""
GROWING = frozenset(
    {"dict", "list", "set", "deque", "bytearray", "Counter", "OrderedDict", "Recent", "defaultdict", "WeakSet"}
    | {"Queue", "Buckets", "RetrySchedule", "Turns", "FairCache", "WeakKeyDictionary", "WeakValueDictionary"}
)
"""A `Memo` is not among them: the class holds the bound that its own module declares."""
REMEMBERING = frozenset({"cache", "lru_cache", "cached"})


@cache
def scanned() -> tuple[str, ...]:
    """Names of the modules that are looked through."""
    return tuple(name for name in modules() if name.startswith(AREAS) and not name.startswith(WITHOUT))


@cache
def declared() -> dict[str, tuple[str, DeclaredBound]]:
    """Every bound by its name, with the module that declares it."""
    found: dict[str, tuple[str, DeclaredBound]] = {}
    for name in scanned():
        if any(_names(node) == {"BOUNDS"} for node in tree(name).body):
            for bound in importlib.import_module(name).BOUNDS:
                assert bound.name not in found, f"{name} and {found[bound.name][0]} both declare {bound.name!r}"
                found[bound.name] = name, bound
    return found


def held() -> set[str]:
    """Every attribute that a bound names, as `module:Class.attribute`."""
    return {f"{module}:{where}" for module, bound in declared().values() for where in bound.holds}


def attributes(name: str) -> set[str]:
    """Everything that a class of the module sets on itself or lists among its slots, as `held` names it."""
    return {
        f"{name}:{of.name}.{node.attr if isinstance(node, ast.Attribute) else node.value!s}"
        for of in tree(name).body
        if isinstance(of, ast.ClassDef)
        for node in ast.walk(of)
        if isinstance(node, ast.Attribute) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
    }


def growing(name: str) -> Iterator[str]:
    """What can grow in a module, as `module:Class.attribute`, `module:NAME` or `module:function()`."""
    for node in tree(name).body:
        if isinstance(node, ast.ClassDef):
            yield from (f"{name}:{node.name}.{attribute}" for attribute in _growing_attributes(node))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if any(_called(decorator) in REMEMBERING for decorator in node.decorator_list):
                yield f"{name}:{node.name}()"
        elif _grows(getattr(node, "value", None)):
            yield from (f"{name}:{each}" for each in _names(node))


def _growing_attributes(of: ast.ClassDef) -> list[str]:
    """Names of the attributes that a class, or its instances, can let grow; each once."""
    found: dict[str, None] = {}
    for node in ast.walk(of):
        if isinstance(node, ast.Assign | ast.AnnAssign) and _grows(node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Attribute) and getattr(target.value, "id", "") == "self":
                    found[target.attr] = None
        elif isinstance(node, ast.FunctionDef) and any(_called(each) in REMEMBERING for each in node.decorator_list):
            found[node.name] = None
    for node in of.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and _is_field_that_grows(node.value):
            found[node.target.id] = None
    return list(found)


def _is_field_that_grows(value: ast.expr | None) -> bool:
    """`field(default_factory=dict)` of a dataclass."""
    if not isinstance(value, ast.Call) or _called(value) != "field":
        return False
    made = (each.value for each in value.keywords if each.arg == "default_factory")
    return any(_called(each.body if isinstance(each, ast.Lambda) else each) in GROWING for each in made)


def _grows(value: ast.expr | None) -> bool:
    match value:
        case ast.Dict(keys=[]) | ast.List(elts=[]):
            return True
        case ast.Call():
            return _called(value) in GROWING
    return False


def _called(node: ast.expr) -> str:
    """The last word of what is called or named: `collections.deque[int]()` gives `deque`."""
    match node:
        case ast.Call(func=inner) | ast.Subscript(value=inner):
            return _called(inner)
        case ast.Attribute(attr=word) | ast.Name(id=word):
            return word
    return ""


def _names(node: ast.stmt) -> set[str]:
    """What a statement at the top of a module assigns to."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}
