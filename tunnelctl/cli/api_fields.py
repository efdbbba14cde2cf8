"""Builds the JSON or query of a request of `tunnel api` from the command's flags. Does no I/O, except for reading
secrets.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, assert_never

Kind = Literal["text", "nullable", "number", "switch", "list", "pairs", "claims", "objects", "secret", "secrets"]
"""The type of a field, which determines how its flag is typed:

- `text`: any text, even an empty one; `nullable`: a text, of which an empty one is sent as null;
- `number`: an integer; `switch`: true or false;
- `list`: the flag is repeated, with one value each time; a single empty value means the empty list;
- `pairs`, `claims`: the flag is repeated with NAME=VALUE, which is sent as an object, or as a list of names and values;
- `objects`: the flag is repeated, with a JSON object each time;
- `secret`, `secrets`: one text, or a list, of sources from which secrets are read: env:NAME, file:PATH, or - for stdin.
"""

ReadSecret = Callable[[str, str], str]
"""Function that takes a flag (for error messages) and its value, and returns the secret that the value refers to."""


class FieldInvalid(ValueError):
    """A flag's value is invalid. The message begins with the flag and contains no secret."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a request of the API.

    Attributes:
        name: Name in the API, with dots for nested objects: `oidc.client_id`.
        kind: Type of the field; see `Kind`.
        words: Help text of the flag.
    """

    name: str
    kind: Kind
    words: str

    @property
    def flag(self) -> str:
        """The flag of the field, such as `--oidc.client-id`."""
        return "--" + self.name.replace("_", "-")

    @property
    def parameter(self) -> str:
        """The flag's parameter name in click: an identifier that no other option has."""
        return "field_" + self.name.replace(".", "__")

    @property
    def is_repeated(self) -> bool:
        """Whether the flag may be given several times."""
        return self.kind in ("list", "pairs", "claims", "objects", "secrets")


def body_of(fields: Iterable[Field], given: Mapping[str, Any], read: ReadSecret) -> dict[str, Any]:
    """Return the JSON object for the given flags.

    Flags that were not given are left out, so that a change keeps their fields.

    Args:
        given: Values by parameter name; None, or () for a flag that may be repeated, if it was not given.

    Raises:
        FieldInvalid: Reports the first mistake.
    """
    body: dict[str, Any] = {}
    for field, value in _given(fields, given):
        *above, last = field.name.split(".")
        inner = body
        for name in above:
            inner = inner.setdefault(name, {})
        inner[last] = _value(field, value, read)
    return body


def query_of(fields: Iterable[Field], given: Mapping[str, Any]) -> dict[str, str]:
    """Return the query for the given flags."""
    return {field.name: str(value) for field, value in _given(fields, given)}


def _given(fields: Iterable[Field], given: Mapping[str, Any]) -> Iterable[tuple[Field, Any]]:
    return [(field, value) for field in fields if (value := given.get(field.parameter)) not in (None, ())]


def _value(field: Field, value: Any, read: ReadSecret) -> Any:
    match field.kind:
        case "nullable":
            return value or None
        case "list":
            return _without_single_empty(value)
        case "pairs":
            return _object(field, _without_single_empty(value))
        case "claims":
            pairs = [_pair(field, one) for one in _without_single_empty(value)]
            return [{"name": name, "value": text} for name, text in pairs]
        case "objects":
            return [parse_object(field.flag, one) for one in _without_single_empty(value)]
        case "secret":
            return read(field.flag, value) if value else ""
        case "secrets":
            return [read(field.flag, one) for one in _without_single_empty(value)]
        case "text" | "number" | "switch":
            return value
        case _:
            assert_never(field.kind)


def _without_single_empty(values: tuple[str, ...]) -> list[str]:
    return [] if values == ("",) else list(values)


def parse_object(flag: str, text: str) -> dict[str, Any]:
    """Parse a text that must be a JSON object.

    Raises:
        FieldInvalid: The text is not a JSON object.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = f"{error.msg} in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "too deep"
        raise FieldInvalid(f"{flag}: not JSON: {reason}") from None
    if not isinstance(value, dict):
        raise FieldInvalid(f'{flag}: a JSON object is needed, as in {{"name": "value"}}')
    return value


def _object(field: Field, texts: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for name, value in (_pair(field, text) for text in texts):
        if name in pairs:
            raise FieldInvalid(f"{field.flag}: {name} has more than one value")
        pairs[name] = value
    return pairs


def _pair(field: Field, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise FieldInvalid(f"{field.flag}: {text!r} is not NAME=VALUE")
    return name, value
