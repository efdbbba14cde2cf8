"""The owner's own header changes, checked once when the endpoint is bound.

An owner may change what is between their upstream and their visitors. What frames a message, says who the visitor is,
or speaks for the relay is not theirs: it would be a way around the rules for those who can edit a tunnel's flags.
"""

import re
from collections.abc import Callable

from tunnelctl.http1.fields import loose_name
from tunnelctl.wire.messages import HeaderEdit
from tunnelctl.wire.problem import Problem
from tunnelrelay.policy import cookies
from tunnelrelay.policy.header_names import is_for_front_servers, is_framing, is_relays
from tunnelrelay.policy.headers import make_private, spare_neighbours
from tunnelrelay.policy.rules import Edit

MAX_ADDED = 8 * 1024
"""Bytes of added lines. A wire head holds 64 KiB, of which a visitor's head may fill 32 KiB and the identity 8 KiB."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_REQUEST_OWN = frozenset({b"host", b"expect"})

AddValue = Callable[[bytes, bytes], bytes | None]
"""Takes a loose name and a value; returns what to add, None when it must not be added."""


def compile_request_edit(edit: HeaderEdit, problems: list[Problem]) -> Edit:
    """Returns the changes to requests; what is wrong with them is appended to `problems`."""

    def is_ours(name: bytes) -> bool:
        return name in _REQUEST_OWN or is_relays(name)

    return _compile(edit, "request_headers", is_ours, _as_it_is, problems)


def compile_response_edit(edit: HeaderEdit, *, private: bool, problems: list[Problem]) -> Edit:
    """Returns the changes to responses; what is wrong with them is appended to `problems`.

    Args:
        private: Answers belong to one signed-in visitor: an added Cache-Control must not say otherwise.
    """

    def admit(name: bytes, value: bytes) -> bytes | None:
        if name == b"set-cookie":
            return value if cookies.admit_set_cookie(value, b"") == value else None
        if name == b"clear-site-data":
            tidy = b", ".join(kind.strip(b" \t") for kind in value.split(b","))
            return tidy if spare_neighbours(tidy) == tidy else None
        return make_private(value) if name == b"cache-control" and private else value

    return _compile(edit, "response_headers", is_for_front_servers, admit, problems)


def _as_it_is(_name: bytes, value: bytes) -> bytes:
    return value


def _compile(
    edit: HeaderEdit, part: str, is_reserved: Callable[[bytes], bool], admit: AddValue, problems: list[Problem]
) -> Edit:
    field = f"{part}.add"
    remove = [name for raw in edit.remove if (name := _check_name(raw, f"{part}.remove", is_reserved, problems))]
    adds, lines = [], []
    for raw, text in edit.add:
        name = _check_name(raw, field, is_reserved, problems)
        value = _check_value(raw, text, field, problems)
        if not name or value is None:
            continue
        admitted = admit(name, value)
        if admitted is None:
            text = f"{raw}: its value is the relay's to say, or reaches beyond the endpoint's host"
            problems.append(Problem(field, text))
            continue
        adds.append(name)
        lines.append(b"%b: %b\r\n" % (raw.encode(), admitted))
    if sum(map(len, lines)) > MAX_ADDED:
        problems.append(Problem(field, f"{sum(map(len, lines))} bytes to add, at most {MAX_ADDED}"))
    return Edit(frozenset(remove), b"".join(lines), frozenset(adds))


def _check_name(raw: str, field: str, is_reserved: Callable[[bytes], bool], problems: list[Problem]) -> bytes:
    if not _NAME.fullmatch(raw):
        problems.append(Problem(field, f"{raw[:64]!r} is not a header name"))
        return b""
    name = loose_name(raw.encode())
    if is_framing(name) or is_reserved(name):
        problems.append(Problem(field, f"{raw}: the relay sets or removes this one itself"))
        return b""
    return name


def _check_value(raw: str, text: str, field: str, problems: list[Problem]) -> bytes | None:
    if _CONTROL.search(text):
        problem = "the value has a control character"
    elif "${" in text:
        problem = "values are sent as they are; '${...}' is not expanded"
    else:
        try:
            return text.strip(" \t").encode()
        except UnicodeEncodeError:
            problem = "the value is not text"
    problems.append(Problem(field, f"{raw[:64]!r}: {problem}"))
    return None
