"""The commands of `tunnel api` are the operations of the API, and their flags its fields."""

import re

import click
import pytest

from tunnelctl.cli.api_fields import body_of
from tunnelctl.cli.api_table import GROUPS, MODULES

OPERATIONS = {f"{group.name} {one.verb}": one for group in GROUPS for one in group.operations}


def test_nothing_is_reached_in_two_ways():
    asked = [(one.method, one.path) for one in OPERATIONS.values()]
    assert len(asked) == len(set(asked))
    assert len(OPERATIONS) == sum(len(group.operations) for group in GROUPS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_all_flags_of_a_command_are_named_once(name):
    from tunnelctl.cli.api import command_of

    command = command_of(OPERATIONS[name])
    flags = [flag for option in command.params if isinstance(option, click.Option) for flag in option.opts]
    names = [option.name for option in command.params]
    assert len(flags) == len(set(flags))
    assert len(names) == len(set(names))


def test_every_module_has_its_group():
    groups = {group.name for group in GROUPS}
    assert {f"edge-modules https-edge-route-{name.replace('_', '-')}" for name in MODULES} <= groups


def test_what_is_not_given_is_not_sent():
    for one in OPERATIONS.values():
        assert body_of(one.body, {field.parameter: None for field in one.body}, lambda flag, text: text) == {}


@pytest.mark.parametrize("name", [name for name, one in OPERATIONS.items() if "{" in one.path])
def test_arguments_stand_in_the_order_of_the_path(name):
    one = OPERATIONS[name]
    assert list(one.arguments) == re.findall(r"{(\w+)}", one.path)


# Against the API's own schema


NOT_OFFERED = {("POST", "/tunnel_sessions/{id}/update")}
"""Always refused; there for ngrok's clients."""
NO_CHOICE = "cookie_prefix"
"""The field that has one value, and is there for ngrok's clients too."""


class _Anything:
    """Services that nobody calls: the schema is made of the routes alone."""

    def __getattr__(self, name: str) -> "_Anything":
        return _Anything()


@pytest.fixture(scope="module")
def schema():
    from tunnelrelay.address import PublicAddress
    from tunnelrelay.api.app import build_routes
    from tunnelrelay.api.schema import describe

    address = PublicAddress(scheme="https", domain="tun.example", port=443)
    return describe(build_routes(_Anything(), address), address)


def operations_of(schema):
    """(method, path) to the operation of the schema."""
    return {(method.upper(), path): one for path, ones in schema["paths"].items() for method, one in ones.items()}


def resolved(schema, part):
    """A schema without references and without the null that stands for "not given"."""
    if "$ref" in part:
        return resolved(schema, schema["components"]["schemas"][part["$ref"].rpartition("/")[2]])
    choices = [one for one in part.get("anyOf", ()) if one.get("type") != "null"]
    return {**part, **resolved(schema, choices[0])} if choices else part


def is_offered(part):
    """Whether a field is more than a place that ngrok's clients leave empty."""
    return part.get("type") != "null" and 0 not in (part.get("maxItems"), part.get("maxLength"))


def fields_of(schema, part, prefix=""):
    """Dotted name to schema of everything that a body may hold and that is offered."""
    found = {}
    for name, inner in resolved(schema, part).get("properties", {}).items():
        whole = resolved(schema, inner)
        if whole.get("properties"):
            found |= fields_of(schema, whole, f"{prefix}{name}.")
        elif is_offered(whole) and name != NO_CHOICE:
            found[prefix + name] = whole
    return found


def body_schema(operation):
    """The schema of what an operation is sent."""
    return operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})


def kind_fits(schema, kind, part):
    """Whether a flag of this kind makes what the schema asks for."""
    match part.get("type"):
        case "array":
            items = resolved(schema, part["items"])
            return kind in ({"claims", "objects"} if items.get("type") == "object" else {"list", "secrets"})
        case "object":
            return kind == "pairs"
        case "boolean":
            return kind == "switch"
        case "integer":
            return kind == "number"
        case _:
            return kind in ("text", "nullable", "secret")


def test_every_operation_of_the_api_is_a_command_and_no_command_is_another(schema):
    assert {(one.method, one.path) for one in OPERATIONS.values()} == operations_of(schema).keys() - NOT_OFFERED


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_fields_of_a_command_are_those_of_the_schema(schema, name):
    one = OPERATIONS[name]
    operation = operations_of(schema)[one.method, one.path]
    in_query = {part["name"]: part for part in operation.get("parameters", ()) if part["in"] == "query"}
    assert {field.name for field in one.query} == set(in_query)
    fields = fields_of(schema, body_schema(operation))
    assert {field.name for field in one.body} == set(fields)
    assert [field.name for field in one.body if not kind_fits(schema, field.kind, fields[field.name])] == []


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_is_secret_in_the_schema_can_be_read_from_a_file_or_a_variable(schema, name):
    """Row 156."""
    one = OPERATIONS[name]
    fields = fields_of(schema, body_schema(operations_of(schema)[one.method, one.path]))
    hidden = {
        name
        for name, part in fields.items()
        if part.get("writeOnly") or resolved(schema, part.get("items", {})).get("writeOnly")
    }
    assert {field.name for field in one.body if field.kind in ("secret", "secrets")} == hidden
