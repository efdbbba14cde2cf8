"""Lines of a form's text area: one value, or one pair `name=value`, a line. Pure.

Whatever a value is, it comes back from its line as it was. A value that a line would alter (a name with an equals sign,
a text that ends in a comma) is shown as a JSON string, and a text that begins with a quotation mark is read as one.
"""

import json


def line_of(text: str) -> str:
    """Return the line for a value."""
    return _quoted(text)


def line_of_pair(name: str, value: str) -> str:
    """Return the line for a pair."""
    shown = json.dumps(name, ensure_ascii=not name.isprintable()) if "=" in name else _quoted(name)
    return f"{shown}={_quoted(value)}"


def read_line(line: str) -> str:
    """Return the value that a line stands for. Raises ValueError."""
    if not line.startswith('"'):
        return line
    value, rest = _json_string(line)
    if rest:
        raise ValueError(f"{line[:128]}: something follows the text in quotes")
    return value


def read_pair(line: str) -> tuple[str, str]:
    """Return the pair that a line stands for. Raises ValueError."""
    if line.startswith('"'):
        name, rest = _json_string(line)
        value = rest.removeprefix("=").strip() if rest.startswith("=") else ""
    else:
        name, _, value = (part.strip() for part in line.partition("="))
    if not name or not value:
        raise ValueError(f"{line[:128]!r} is not NAME=VALUE")
    return name, read_line(value)


def _quoted(text: str) -> str:
    """The text, or a JSON string when `Form.lines` would not return the text as it is."""
    is_one_line = text.splitlines() == [text]
    if is_one_line and text == text.strip(" \t,").strip() and not text.startswith('"'):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _json_string(text: str) -> tuple[str, str]:
    """The JSON string at the start of a text, and what follows it. Raises ValueError."""
    try:
        value, end = json.JSONDecoder().raw_decode(text)
        value.encode()  # half a surrogate pair is no text
    except ValueError:
        raise ValueError(f"{text[:128]}: the text in quotes does not end, or has a wrong escape") from None
    return value, text[end:].strip()
