"""The commands of `tunnel api` are the operations of the API, and their flags its fields."""

import subprocess
import sys

import click

from tests.docs.openapi import PACKAGED, packaged, text
from tunnelctl.cli.api import command_of
from tunnelctl.cli.api_fields import body_of
from tunnelctl.cli.api_schema import groups

OPERATIONS = {f"{group.name} {one.verb}": one for group in groups() for one in group.operations}


def test_the_packaged_schema_is_the_relays():
    """`python -m tests.docs.openapi --write` writes it."""
    assert PACKAGED.read_text() == text()


def test_every_operation_that_the_api_offers_is_one_command():
    offered = {
        (method.upper(), path)
        for path, methods in packaged()["paths"].items()
        for method, told in methods.items()
        if not told.get("deprecated")
    }
    assert sorted((one.method, one.path) for one in OPERATIONS.values()) == sorted(offered)
    assert len(OPERATIONS) == sum(len(group.operations) for group in groups())


def test_all_flags_and_arguments_of_a_command_are_named_once():
    for name, operation in OPERATIONS.items():
        command = command_of(operation)
        flags = [flag for option in command.params if isinstance(option, click.Option) for flag in option.opts]
        names = [option.name for option in command.params]
        assert len(flags) == len(set(flags)), name
        assert len(names) == len(set(names)), name


def test_every_command_and_every_flag_says_what_it_is_for():
    silent = [name for name, one in OPERATIONS.items() if not one.words]
    silent += [
        f"{name} {field.flag}" for name, one in OPERATIONS.items() for field in fields_of(one) if not field.words
    ]
    assert silent == []


def test_what_is_not_given_is_not_sent():
    for one in OPERATIONS.values():
        assert body_of(one.body, {field.parameter: None for field in one.body}, lambda flag, text: text) == {}


def test_secrets_and_only_they_are_read_from_a_file_or_a_variable():
    """Row 156."""
    for name, one in OPERATIONS.items():
        read = {field.name for field in one.body if field.kind in ("secret", "secrets")}
        secret = {field.name for field in one.body if field.name.endswith(("client_secret", "credentials"))}
        assert read == secret, name


def test_what_ngroks_clients_leave_empty_is_no_flag():
    flags = {field.flag for field in OPERATIONS["edges https create"].body}
    assert {"--oidc.issuer", "--oidc.client-secret", "--host-header"} <= flags
    assert not flags & {"--oidc.cookie-prefix", "--oauth", "--ip-restriction.ip-policy-ids", "--tls-termination"}


def test_an_empty_owner_is_sent_and_refused_and_not_taken_for_your_own():
    fields = OPERATIONS["credentials create"].body
    given = {"field_owner": "", "field_owner_id": "", "field_expires_at": ""}
    assert body_of(fields, given, lambda flag, text: text) == {"owner": "", "owner_id": "", "expires_at": None}


def test_other_commands_do_not_read_the_schema():
    script = (
        "import sys\n"
        "from tunnelctl.cli.main import run\n"
        "for arguments in (['--help'], ['http', '--help'], ['version']):\n"
        "    assert run(arguments) == 0, arguments\n"
        "assert 'tunnelctl.cli.api_schema' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def fields_of(one):
    return (*one.query, *one.body)
