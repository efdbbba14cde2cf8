"""The flags of `tunnel http` that protect and shape a tunnel, declared from the table of settings; and reading their
values.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import click

from tunnelctl.cli.command import Decorator
from tunnelctl.policy.fields import BY_PATH, FIELDS, PolicyField, Section, of_part
from tunnelctl.policy.parse import PolicyTexts

ORDER = f"{__name__}.order"
"""Key in a click context of the list of typed parameter names, in order and with repetitions."""
GIVEN_AS = "env:NAME, file:PATH, -, or the value itself"
JWT = {row.parameter: row for row in of_part("jwt")}
"""Options that belong to the preceding `--jwt-issuer`, by parameter. Click itself does not keep the order of different
options."""


def flags_in(section: Section) -> tuple[Decorator, ...]:
    """Return the flags of one section of the help."""
    return tuple(_flag(row) for row in FIELDS if row.section == section)


def flags_for(paths: Collection[str]) -> tuple[Decorator, ...]:
    """Return the flags of these settings."""
    return tuple(_flag(row) for row in FIELDS if row.path in paths)


def with_bare_values(args: Sequence[str]) -> list[str]:
    """Replace `--oidc-bearer` by `--oidc-bearer=`, as click would take the port after it for its value."""
    bare = {row.flag for row in FIELDS if row.metavar.startswith("[=")}
    end = args.index("--") if "--" in args else len(args)
    return [f"{arg}=" if arg in bare and at < end else arg for at, arg in enumerate(args)]


def texts_of(given: Mapping[str, Any], order: Sequence[str], paths: Collection[str] = BY_PATH) -> PolicyTexts:
    """Return the texts typed for the settings.

    Args:
        given: Values of the command's parameters.
        order: Names of the parameters in the order in which they were typed.
        paths: The settings for which the command has flags.
    """
    rows = [row for row in FIELDS if row.part != "jwt" and row.path in paths]
    entries = [(row.path, text) for row in rows for text in _texts(row, given[row.parameter])]
    values = {name: iter(given[name]) for name in JWT if JWT[name].path in paths}
    tokens = [(JWT[name].path, next(values[name])) for name in order if name in values]
    assert len(tokens) == sum(len(given[name]) for name in values)  # a lost rule would let others in
    return PolicyTexts((*entries, *tokens))


def _flag(row: PolicyField) -> Decorator:
    text = row.help.removesuffix(".")
    if row.kind in ("secret", "password"):
        text += f": {GIVEN_AS}"
    if row.default_text:
        text += f" [default: {row.default_text}]"
    if row.kind == "switch":
        return click.option(row.flag, is_flag=True, help=f"{text}.")
    is_repeatable = row.is_list or row.part == "jwt"
    return click.option(
        row.flag,
        default=None if is_repeatable else "",
        multiple=is_repeatable,
        metavar="|".join(row.words) or row.metavar,
        help=f"{text}. Repeatable." if is_repeatable else f"{text}.",
        envvar=row.variable or None,
        show_envvar=not row.is_secret,
    )


def _texts(row: PolicyField, value: Any) -> list[str]:
    if row.kind == "password":
        return [pair for text in value for pair in _pairs(text)]
    if row.is_list:
        return list(value)
    return (["true"] if row.kind == "switch" else [value]) if value else []


def _pairs(text: str) -> list[str]:
    """Return the `USER:PASS` pairs in a text, which may contain several separated by commas, as in ngrok.

    A comma separates only if there is a pair on both sides, and never in a text that begins with a double quote:
    `"ann:a,b:c"` is one pair. A reference to a file or a variable is one text too.
    """
    if text.startswith(("env:", "file:")):
        return [text]
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        return [text[1:-1]]
    parts = text.split(",")
    return parts if all(":" in part for part in parts) else [text]
