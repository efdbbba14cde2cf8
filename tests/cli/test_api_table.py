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
