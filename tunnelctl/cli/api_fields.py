"""Makes the JSON or query of a `tunnel api` command from its flags. Pure, except for reading secrets."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, assert_never

Kind = Literal["text", "nullable", "number", "switch", "list", "pairs", "claims", "objects", "secret", "secrets"]
"""How a field is typed:

- `text` as it is, the empty one too; `nullable` likewise, but an empty text is sent as null;
- `number` whole, `switch` true or false;
- `list` one value each time, a single empty one being the empty list; `pairs` the same with NAME=VALUE, an object;
  `claims` with NAME=VALUE too, a list of names and values; `objects` each in JSON;
- `secret` and `secrets` as `text` and `list`, but where each can be read: env:NAME, file:PATH, or - for stdin.
"""

ReadSecret = Callable[[str, str], str]
"""Takes a flag, for error messages, and its value; returns the secret that the value names."""


class FieldInvalid(ValueError):
    """A flag's value is invalid. The message begins with the flag and holds no secret."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a request.

    Attributes:
        name: As in the API; dots lead into objects: `oidc.client_id`.
        kind: See `Kind`.
        words: Its help text.
    """

    name: str
    kind: Kind
    words: str

    @property
    def flag(self) -> str:
        """`--oidc.client-id`."""
        return "--" + self.name.replace("_", "-")

    @property
    def parameter(self) -> str:
        """Its name in click: an identifier that none of our own options has."""
        return "field_" + self.name.replace(".", "__")

    @property
    def is_repeated(self) -> bool:
        """Whether the flag may be given again and again."""
        return self.kind in ("list", "pairs", "claims", "objects", "secrets")


def body_of(fields: Iterable[Field], given: Mapping[str, Any], read: ReadSecret) -> dict[str, Any]:
    """The JSON object that the flags make. It leaves out flags that were not given: a change keeps those fields.

    Args:
        given: By the parameters' names; None, or () where a flag may be repeated, for what was not given.

    Raises:
        FieldInvalid: With the first mistake.
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
    """The query that the flags make."""
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
        FieldInvalid: It is none.
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
