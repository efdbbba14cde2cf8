"""Creates the commands of `tunnel api` from the API's schema, which is packaged as `openapi.json`.

Groups, verbs, paths, fields, help and secrecy come from the schema. Only names of ngrok's commands that differ from its
resources are defined here. `python -m tests.docs.openapi --write` writes the file, and a test compares it with the
relay's schema. It is read only when a command of `tunnel api` is looked up.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import msgspec

from tunnelctl.cli.api_fields import Field, Kind

Schema = Mapping[str, Any]

GROUPS = {
    "https_edges": "edges https",
    "https_edge_routes": "edges https-routes",
    "tunnel_group_backends": "backends tunnel-group",
}
"""Maps tags of the schema to command groups, if the group is not simply the tag with hyphens."""
MODULES = "https_edge_route_modules"
"""Tag of the modules of a route; each module is a group."""
VERBS = {
    "test_https_edge_oidc": "test-oidc",
    "get_me": "me",
    "create_invitation": "invite",
}
"""Verbs by operation id, where the verb is not the id's first word."""
NEVER_NULL = frozenset({"owner", "owner_id"})
"""Fields whose null only means "not given". An empty value, for example from an unset variable, is sent and refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A command of `tunnel api`, which sends one request.

    Attributes:
        group: The command group, with subgroups after blanks: `edges https`.
        verb: Name of the command.
        method: HTTP method of the request.
        path: Path in the API; parts in braces are arguments of the command.
        words: Help text of the command.
        body: Fields of the JSON body.
        query: Fields of the query.
    """

    group: str
    verb: str
    method: str
    path: str
    words: str
    body: tuple[Field, ...] = ()
    query: tuple[Field, ...] = ()

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names of the ids in the path, in order."""
        return tuple(re.findall(r"{(\w+)}", self.path))

    @property
    def is_paged(self) -> bool:
        """Whether the response is a list with pages."""
        return any(field.name == "before_id" for field in self.query)


@dataclass(frozen=True, slots=True)
class ApiGroup:
    """A group of commands for one resource.

    Attributes:
        name: Name as typed, with subgroups after blanks: `edges https`.
        words: Help text in one line.
    """

    name: str
    words: str
    operations: tuple[Operation, ...]


@functools.cache
def groups() -> tuple[ApiGroup, ...]:
    """Return every group, in the order of the schema."""
    return ApiSchema(msgspec.json.decode(resources.files("tunnelctl.cli").joinpath("openapi.json").read_bytes())).groups


class ApiSchema:
    """An OpenAPI document, interpreted as commands.

    Attributes:
        groups: The command groups, in the order of the document.
    """

    def __init__(self, document: Schema) -> None:
        self._schemas: Schema = document["components"]["schemas"]
        tags = {tag["name"]: tag["description"] for tag in document["tags"]}
        found: dict[str, list[Operation]] = {}
        words: dict[str, str] = {}
        for path, methods in document["paths"].items():
            for method, described in methods.items():
                if described.get("deprecated"):
                    continue
                tag = described["tags"][0]
                name = _group_name(tag, path)
                found.setdefault(name, []).append(self._operation(name, method.upper(), path, described))
                if tag != MODULES:
                    words[name] = tags[tag]
                elif body := self._body(described):  # the schema of the body describes the module
                    words[name] = _line(self._resolve(body)["description"])
        self.groups = tuple(ApiGroup(name, words[name], tuple(operations)) for name, operations in found.items())

    def _operation(self, group: str, method: str, path: str, described: Schema) -> Operation:
        body = self._body(described)
        return Operation(
            group=group,
            verb=VERBS.get(described["operationId"], described["operationId"].partition("_")[0]),
            method=method,
            path=path,
            words=_line(described["description"]),
            body=tuple(self._fields(body)) if body else (),
            query=tuple(
                self._field(each["name"], each["schema"] | {"description": each.get("description", "")})
                for each in described.get("parameters", ())
                if each["in"] == "query"
            ),
        )

    def _body(self, described: Schema) -> Schema | None:
        content: Schema = described.get("requestBody", {}).get("content", {})
        schema: Schema | None = content["application/json"]["schema"] if content else None
        return schema

    def _fields(self, part: Schema, prefix: str = "") -> Iterator[Field]:
        """Yield the fields of an object, with those of nested objects under dotted names."""
        for name, inner in self._resolve(part).get("properties", {}).items():
            whole = self._resolve(inner)
            if whole.get("properties"):
                yield from self._fields(whole, f"{prefix}{name}.")
            elif _is_offered(whole):
                yield self._field(prefix + name, inner)

    def _field(self, name: str, part: Schema) -> Field:
        whole = self._resolve(part)
        kind = self._kind(name.rpartition(".")[2], whole)
        words = [whole.get("description", "")]
        if choices := [choice for choice in whole.get("enum", ()) if choice]:
            words.append(f"One of: {', '.join(choices)}.")
        if kind in ("secret", "secrets"):
            words.append("Give it as env:NAME, file:PATH, - or the value itself.")
        if kind == "nullable":
            words.append("Empty for null.")
        return Field(name, kind, " ".join(filter(None, words)))

    def _kind(self, name: str, whole: Schema) -> Kind:
        match whole.get("type"):
            case "array":
                return self._list_kind(self._resolve(whole["items"]))
            case "object":
                return "pairs"
            case "boolean":
                return "switch"
            case "integer":
                return "number"
        if whole.get("writeOnly"):
            return "secret"
        return "nullable" if whole.get("nullable") and name not in NEVER_NULL else "text"

    def _list_kind(self, items: Schema) -> Kind:
        if items.get("writeOnly"):
            return "secrets"
        if items.get("type") == "object":
            return "claims" if items["properties"].keys() == {"name", "value"} else "objects"
        return "list"

    def _resolve(self, part: Schema) -> Schema:
        """Return a schema with its references resolved; `nullable` is set for a choice between a schema and null."""
        if "$ref" in part:
            return self._resolve(self._schemas[part["$ref"].rpartition("/")[2]])
        choices = [choice for choice in part.get("anyOf", ()) if choice != {"type": "null"}]
        if not choices:
            return part
        rest = {name: value for name, value in part.items() if name != "anyOf"}
        return {**self._resolve(choices[0]), **rest, "nullable": len(choices) < len(part["anyOf"])}


def _line(text: str) -> str:
    return " ".join(text.split())


def _group_name(tag: str, path: str) -> str:
    if tag == MODULES:
        return f"edge-modules https-edge-route-{path.rpartition('/')[2].replace('_', '-')}"
    return GROUPS.get(tag, tag.replace("_", "-"))


def _is_offered(part: Schema) -> bool:
    """Return whether a field gets a flag; not if it exists only for ngrok's clients and must be empty."""
    return (
        part.get("type") != "null"
        and 0 not in (part.get("maxItems"), part.get("maxLength"))
        and not part.get("deprecated")
    )
