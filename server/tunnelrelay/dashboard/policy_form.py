"""Converts settings of a policy to the texts of a form's fields, and typed texts back to settings. Pure.

The form's fields are rows of the table of settings (`tunnelctl.policy.fields`), named as in the API, so that the field
of a problem is a field of the form too. A client secret and the values of headers are never sent back in a form.
"""

from collections.abc import Iterable
from typing import Any

from tunnelctl.policy.durations import format_duration
from tunnelctl.policy.fields import PolicyField, default_of
from tunnelctl.policy.parse import read_text
from tunnelrelay.dashboard.form import Form
from tunnelrelay.dashboard.form_lines import line_of, line_of_pair, read_line, read_pair
from tunnelrelay.services.edge_settings import KEPT

MASK = "••••••••"
"""Shown in place of a header's value, which is never shown. When the form sends it back, the value stays."""


def text_of(row: PolicyField, value: Any) -> str:
    """Return the text of a form's field for a setting's value; "" for a secret or a password."""
    match row.kind:
        case _ if value is None or row.kind in ("secret", "password"):
            return ""
        case "switch":
            return "1" if value else ""
        case "duration":
            return format_duration(value)
        case "pair":
            return "\n".join(line_of_pair(name, text) for name, text in value)
        case "header":
            return "\n".join(f"{name}: {MASK}" for name, _ in value)
        case _ if row.is_list:
            return "\n".join(map(line_of, value)) if row.is_area else " ".join(value)
        case _:
            return str(value)


def values_of(rows: Iterable[PolicyField], form: Form, errors: dict[str, str]) -> dict[str, Any]:
    """Return the settings that were typed into a form, by their names in `PolicySpec`.

    Args:
        errors: Gets a message for each field whose text cannot be parsed. The service checks the values.
    """
    found: dict[str, Any] = {}
    for row in rows:
        try:
            found[row.name] = _value(row, form)
        except ValueError as error:
            errors[row.api_name] = str(error)
    return found


def _value(row: PolicyField, form: Form) -> Any:
    name = row.api_name
    match row.kind:
        case "secret":
            return form.secret(name)
        case "switch":
            return form.has(name)
        case "duration":
            text = form.text(name)
            return read_text(row, f"{text}s" if text.isdigit() else text)[0]
        case "pair":
            return tuple(map(read_pair, form.lines(name)))
        case "header":
            lines = (line for text in form.texts(name) for line in text.splitlines() if line.strip())
            return tuple(_kept(pair) for line in lines for pair in read_text(row, line))
        case "network" | "header_name":
            return form.words(name)
        case _ if row.is_list:
            return tuple(map(read_line, form.lines(name))) if row.is_area else form.words(name)
        case _:
            return form.text(name) or default_of(row) or ""


def _kept(header: tuple[str, str]) -> tuple[str, str]:
    name, value = header
    return name, KEPT if value == MASK else value
