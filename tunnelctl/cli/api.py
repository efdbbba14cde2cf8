"""`tunnel api`: everything an administrator can do in the dashboard, as commands.

Responses are written to stdout, messages to stderr. `api_schema` creates the commands from the API's schema,
`api_fields` the fields of requests; `api_client` sends requests.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from tunnelctl.cli.api_access import ACCESS, access_of, keep_access, open_api, warn_of_literal
from tunnelctl.cli.api_fields import Field, FieldInvalid, body_of, parse_object, query_of
from tunnelctl.cli.api_schema import ApiGroup, Operation, groups
from tunnelctl.cli.api_view import table
from tunnelctl.cli.exits import Exit, Failure
from tunnelctl.cli.flags import with_options
from tunnelctl.secret_source import SecretMissing, read_secret

if TYPE_CHECKING:
    from tunnelctl.cli.api_client import ApiRefused

MAX_DATA = 1024 * 1024
"""Maximum bytes of a request body that is read from a file; the API accepts less."""
OUTPUT = "What is printed: json for programs, or table for people."
FOLDERS = {
    "edges": "Durable endpoints that tunnels join, and their routes.",
    "edge-modules": "What guards an edge, and who serves it.",
    "backends": "Who can serve edges.",
}
"""Help texts of groups that contain groups."""
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TYPES: dict[str, Any] = {"number": click.INT, "switch": click.BOOL}
_METAVARS = {
    "text": "TEXT",
    "nullable": "TEXT",
    "number": "NUMBER",
    "switch": "true|false",
    "list": "TEXT",
    "pairs": "NAME=VALUE",
    "claims": "NAME=VALUE",
    "objects": "JSON",
    "secret": "SECRET",
    "secrets": "SECRET",
}
_HINTS = {
    401: "make a key in the dashboard and save it with: tunnel config add-api-key KEY",
    403: "the key's scopes, or its user's role, do not reach that far: `tunnel api users me` shows them",
}


class Folder(click.Group):
    """A command group of `tunnel api`. Its commands and groups are created when they are looked up.

    Args:
        path: Names of the groups that contain this one, and its own.
    """

    def __init__(self, path: tuple[str, ...], words: str, **rest: Any) -> None:
        super().__init__(name=path[-1], help=words, short_help=words, **rest)
        self._path = path

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in this group, in the order of the schema."""
        return list(dict.fromkeys(name for name, _ in self._below()))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command or group with this name."""
        found = [what for name, what in self._below() if name == cmd_name]
        if not found:
            return None
        if isinstance(found[0], Operation):
            return command_of(found[0])
        path = (*self._path, cmd_name)
        return Folder(path, found[0].words if found[0].name == " ".join(path[1:]) else FOLDERS[cmd_name])

    def _below(self) -> Iterator[tuple[str, ApiGroup | Operation]]:
        here = self._path[1:]
        for group in groups():
            names = tuple(group.name.split())
            if names == here:
                yield from ((operation.verb, operation) for operation in group.operations)
            elif names[: len(here)] == here:
                yield names[len(here)], group


def command_of(operation: Operation) -> click.Command:
    """Return the command that sends the request of an operation."""
    fields = (*operation.query, *operation.body)
    options: list[click.Parameter] = [click.Argument([name], metavar=name.upper()) for name in operation.arguments]
    options += map(_option_of, fields)
    if operation.is_paged:
        options.append(click.Option(["--all", "everything"], is_flag=True, help="Follow the list to its end."))
    if operation.body:
        options.append(click.Option(["--data"], metavar="FILE|-", help="The whole body as JSON, instead of fields."))

    options.append(click.Option(["--output"], type=click.Choice(["json", "table"]), default="json", help=OUTPUT))

    @click.pass_context
    def run(ctx: click.Context, /, **given: Any) -> None:
        _run(ctx, operation, given)

    return _Command(
        operation.verb,
        params=[*options, *_parameters(*ACCESS)],
        callback=run,
        help=f"{operation.words}\n\n{operation.method} {operation.path}",
        short_help=operation.words,
    )


class _Command(click.Command):
    """A command that also accepts the fields of a module in ngrok's spelling, such as `--module.issuer`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [re.sub(r"^--module\.", "--", arg) for arg in args])


@click.pass_context
def _begin(ctx: click.Context, /, **given: Any) -> None:
    keep_access(ctx, given)


def _parameters(*options: Callable[..., Any]) -> list[click.Parameter]:
    """Return the parameters that the decorators declare, for commands without a function of their own."""
    return click.command()(with_options(*options)(lambda: None)).params


api = Folder(
    ("api",),
    "Set up edges and everything else at the relay, as in its dashboard.",
    callback=_begin,
    params=_parameters(*ACCESS),
    no_args_is_help=True,
)


def _option_of(field: Field) -> click.Option:
    names = [field.flag, field.parameter]
    words = f"{field.words} Repeatable." if field.is_repeated else field.words
    rest: dict[str, Any] = {"is_flag": False, "flag_value": "true"} if field.kind == "switch" else {}
    return click.Option(
        names,
        multiple=field.is_repeated,
        type=_TYPES.get(field.kind),
        metavar=_METAVARS[field.kind],
        help=words,
        **rest,
    )


def _run(ctx: click.Context, operation: Operation, given: dict[str, Any]) -> None:
    """Run a command: build the request from its flags, send it and print the response."""
    from tunnelctl.cli.api_client import ApiAway, ApiCall, ApiRefused

    call = ApiCall(
        method=operation.method,
        path=_path(operation, given),
        query=query_of(operation.query, given),
        body=_body(operation, given),
    )
    opened = open_api(access_of(ctx, given))
    try:
        answer = opened.call_all(call) if given.get("everything") else opened.call(call)
    except ApiRefused as refused:
        _fail(refused)
    except ApiAway as away:
        raise Failure(Exit.NO_RELAY, [str(away)], "is it running, and is --api-url or --relay right?") from None
    finally:
        opened.close()
    if answer is not None:
        click.echo(table(answer) if given.get("output") == "table" else format_json(answer))


def format_json(answer: Any) -> str:
    """Format a response as JSON. Characters that could control a terminal are escaped."""
    text = json.dumps(answer, indent=2, ensure_ascii=False)
    return "".join(one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] for one in text)


def _fail(refused: "ApiRefused") -> NoReturn:
    code = Exit.NOT_ALLOWED if refused.status == 401 else Exit.FAILED
    about = ", ".join([*([refused.code] if refused.code else []), f"HTTP {refused.status}"])
    problems = [f"the API refused: {refused.message} ({about})"]
    if refused.status >= 500 and refused.request_id:
        problems.append(f"the relay's log tells more, under the request {refused.request_id}")
    raise Failure(code, problems, _HINTS.get(refused.status, ""))


# Building the request


def _path(operation: Operation, given: dict[str, Any]) -> str:
    for name in operation.arguments:
        if not _ID.fullmatch(given[name]):
            raise Failure(
                Exit.USAGE,
                [f"{name.upper()}: {given[name][:64]!r} is no id, as in edghts_2abc"],
                "the command `list` beside it shows ids",
            )
    return operation.path.format(**given)


def _body(operation: Operation, given: dict[str, Any]) -> dict[str, Any] | None:
    if not operation.body:
        return None
    try:
        body = body_of(operation.body, given, _secret)
        data = given["data"]
        if data is None:
            return body
        if body:
            raise FieldInvalid("--data: not together with the flags of single fields")
        return parse_object("--data", _read(data))
    except (FieldInvalid, SecretMissing) as error:
        raise Failure(
            Exit.USAGE, [str(error)], "put that flag right; --help behind the command tells what it takes"
        ) from None


def _secret(flag: str, text: str) -> str:
    secret = read_secret(text, what=flag, environ=os.environ, stdin=sys.stdin)
    if secret.is_literal:
        warn_of_literal(flag)
    return secret.value


def _read(path: str) -> str:
    try:
        if path == "-":
            return sys.stdin.read(MAX_DATA)
        with Path(path).expanduser().open(encoding="utf-8") as file:
            return file.read(MAX_DATA)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise FieldInvalid(f"--data: cannot read {path}: {reason}") from None
