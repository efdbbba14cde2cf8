"""The tables of docs/reference/api.md, made from the schema that the API itself answers with.

python -m tests.docs.api_reference          prints them
python -m tests.docs.api_reference --write  writes them into the page
"""

import re
import sys
from collections.abc import Iterator
from typing import Any

from tests.api.office import api_routes
from tests.support.tools import ROOT
from tunnelrelay.address import PublicAddress
from tunnelrelay.api.codes import CODES
from tunnelrelay.services.actor import SCOPES

PAGE = ROOT / "docs" / "reference" / "api.md"
BEGIN, END = "<!-- api:begin -->", "<!-- api:end -->"
ADDRESS = PublicAddress(scheme="https", domain="tun.example", port=443)
TITLES = {
    "https_edges": "Edges",
    "https_edge_routes": "Routes of edges",
    "https_edge_route_modules": "Modules of routes",
    "tunnel_group_backends": "Tunnel groups",
    "reserved_domains": "Reserved domains",
    "reserved_addrs": "Reserved tcp ports",
    "endpoints": "Endpoints",
    "tunnels": "Tunnels",
    "tunnel_sessions": "Tunnel sessions",
    "credentials": "Credentials",
    "trust_rules": "Trust rules",
    "api_keys": "API keys",
    "providers": "Providers",
    "users": "Users",
    "application_sessions": "Sessions of visitors",
    "traffic": "Traffic",
    "audit": "Audit",
}
"""Tags of the schema, and how people call them; in the order of the page."""


def document() -> dict[str, Any]:
    """The schema of a relay."""
    found: dict[str, Any] = api_routes(ADDRESS).state.schema
    return found


def page_of(schema: dict[str, Any]) -> str:
    """Everything between the marks."""
    parts = [_resource(schema, tag, title) for tag, title in TITLES.items()]
    return "\n".join([*parts, _objects(schema), _errors(), _scopes(schema)])


# The parts


def _resource(schema: dict[str, Any], tag: str, title: str) -> str:
    rows = ["| request | scope | |", "| --- | --- | --- |"]
    for path, method, told in _operations(schema):
        if tag in told["tags"]:
            sent = _sent(told)
            body = f" Takes [{sent}](#{sent.lower()})." if sent else ""
            given = ", ".join(f"`{each['name']}`" for each in told.get("parameters", ()) if each["in"] == "query")
            query = f" Query: {given}." if given else ""
            shown = _shown(told)
            answer = f" Answers {_answer(schema, shown)}." if shown else ""
            scope = f"`{told['x-scope']}`" if told["x-scope"] else "any"
            rows.append(f"| `{method.upper()} {path}` | {scope} | {_line(told['description'])}{body}{query}{answer} |")
    return f"## {title}\n\n" + "\n".join(rows) + "\n"


def _objects(schema: dict[str, Any]) -> str:
    parts = ["## Objects\n"]
    for name, told in sorted(schema["components"]["schemas"].items()):
        if name.endswith("List"):
            continue
        rows = ["| field | type | |", "| --- | --- | --- |"] if told["properties"] else []
        required = told.get("required", ()) if name in _given(schema) else ()
        for field, kind in told["properties"].items():
            meaning = _line(kind.get("description", ""))
            needed = " Required." if field in required else ""
            rows.append(f"| `{field}` | {_type(kind)} | {meaning}{needed}{_default(kind)} |".replace("|  |", "| |"))
        parts.append(f"### {name}\n\n{_line(told.get('description', ''))}\n\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _errors() -> str:
    rows = ["| code | status | `error_code` | meaning |", "| --- | --- | --- | --- |"]
    rows += [f"| `{code}` | {row.status} | `{row.error_code(code)}` | {row.title} |" for code, row in CODES.items()]
    return "## Errors\n\n" + "\n".join(rows) + "\n"


def _scopes(schema: dict[str, Any]) -> str:
    rows = ["| scope | requests |", "| --- | --- |"]
    for scope in SCOPES:
        needing = [f"`{told['operationId']}`" for _, _, told in _operations(schema) if told["x-scope"] == scope]
        meaning = "everything its user may do" if scope == "*" else ", ".join(needing) or "none"
        rows.append(f"| `{scope}` | {meaning} |")
    return "## Scopes\n\n" + "\n".join(rows) + "\n"


# Reading the schema


def _operations(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in schema["paths"].items():
        for method, told in methods.items():
            yield path, method, told


def _given(schema: dict[str, Any]) -> set[str]:
    return {_sent(told) for _, _, told in _operations(schema)}


def _sent(told: dict[str, Any]) -> str:
    content = told.get("requestBody", {}).get("content", {})
    return _name(content["application/json"]["schema"]) if content else ""


def _shown(told: dict[str, Any]) -> str:
    for status in ("200", "201"):
        content = told["responses"].get(status, {}).get("content", {})
        if content:
            return _name(content["application/json"]["schema"])
    return ""


def _answer(schema: dict[str, Any], name: str) -> str:
    """What is answered: an object, or under which name a list of them."""
    if not name.endswith("List"):
        return f"[{name}](#{name.lower()})"
    field, kind = next(iter(schema["components"]["schemas"][name]["properties"].items()))
    return f"`{field}`, a {_type(kind)}"


def _name(schema: dict[str, Any]) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _type(kind: dict[str, Any]) -> str:
    """A type in a word or two."""
    if name := _name(kind):
        return f"[{name}](#{name.lower()})"
    if "anyOf" in kind:
        return " or ".join(_type(each) for each in kind["anyOf"])
    if "enum" in kind:
        return " or ".join(f"`{value or chr(34) * 2}`" for value in kind["enum"])
    match kind.get("type"):
        case "array":
            return f"list of {_type(kind['items'])}"
        case "object":
            values = next(iter(kind.get("patternProperties", {}).values()), kind.get("additionalProperties", {}))
            return f"names to {_type(values)}"
        case "string" if kind.get("format") == "date-time":
            return "time"
        case "string":
            most = kind.get("maxLength")
            return f"text, at most {most}" if most else "text"
        case "integer" if "maximum" in kind:
            return f"{int(kind['minimum'])} to {int(kind['maximum'])}"
        case other:
            return str(other)


def _default(kind: dict[str, Any]) -> str:
    value = kind.get("default")
    return f" Default: `{value}`.".replace("`True`", "`true`") if value not in (None, "", [], {}, False) else ""


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


def main() -> None:
    """See the module."""
    made = page_of(document())
    if "--write" not in sys.argv[1:]:
        print(made)
        return
    head, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n\n{made}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
