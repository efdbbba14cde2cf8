"""Checks and compiles the header changes that an owner configures, when an endpoint is bound.

An owner may change fields between upstream and visitors, except those that frame a message, identify the visitor, or
belong to the relay: changing these would bypass the access rules.
"""

from collections.abc import Callable, Iterator

from tunnelctl.http1.fields import loose_name
from tunnelctl.policy.values import header, header_name
from tunnelctl.wire.messages import HeaderEdit
from tunnelctl.wire.problem import Problem
from tunnelrelay.policy import cookies
from tunnelrelay.policy.header_names import is_for_front_servers, is_framing, is_relays
from tunnelrelay.policy.headers import make_private, spare_neighbours
from tunnelrelay.policy.rules import Edit

MAX_ADDED = 8 * 1024
"""Maximum bytes of added field lines. A head on the link may have 64 KiB, of which a visitor's head may fill 32 KiB and
the identity 8 KiB."""

_REQUEST_OWN = frozenset({b"host", b"expect"})


def request_edit_problems(edit: HeaderEdit) -> Iterator[Problem]:
    """Yield the problems of changes to requests that passed `check_policy`."""
    yield from _problems(edit, "request_headers", lambda name: name in _REQUEST_OWN or is_relays(name), _reaches_none)


def response_edit_problems(edit: HeaderEdit) -> Iterator[Problem]:
    """Yield the problems of changes to responses that passed `check_policy`."""
    yield from _problems(edit, "response_headers", is_for_front_servers, _reaches_beyond_host)


def compile_edit(edit: HeaderEdit, *, is_private: bool = False) -> Edit:
    """Compile the header changes for requests or responses, after all checks passed.

    Args:
        is_private: Responses are for one signed-in visitor; an added Cache-Control must not make them public.
    """
    lines = []
    for raw, text in edit.add:
        name, value = loose_name(raw.encode()), _tidy(loose_name(raw.encode()), _stripped(text))
        if name == b"cache-control" and is_private:
            value = make_private(value)
        lines.append(b"%b: %b\r\n" % (raw.encode(), value))
    return Edit(
        frozenset(loose_name(raw.encode()) for raw in edit.remove),
        b"".join(lines),
        frozenset(loose_name(raw.encode()) for raw, _ in edit.add),
    )


def _problems(
    edit: HeaderEdit, part: str, is_reserved: Callable[[bytes], bool], reaches_beyond: Callable[[bytes, bytes], bool]
) -> Iterator[Problem]:
    pairs = [(f"{part}.remove", raw) for raw in edit.remove] + [(f"{part}.add", raw) for raw, _ in edit.add]
    for field, raw in pairs:
        if not header_name(raw) and (is_framing(name := loose_name(raw.encode())) or is_reserved(name)):
            yield Problem(field, f"{raw}: the relay sets or removes this one itself")
    good = [(raw, _stripped(text)) for raw, text in edit.add if not header((raw, text))]
    for raw, value in good:
        if reaches_beyond(loose_name(raw.encode()), value):
            text = f"{raw}: its value is the relay's to say, or reaches beyond the endpoint's host"
            yield Problem(f"{part}.add", text)
    size = sum(len(raw) + len(value) + 4 for raw, value in good)
    if size > MAX_ADDED:
        yield Problem(f"{part}.add", f"{size} bytes to add, at most {MAX_ADDED}")


def _reaches_none(_name: bytes, _value: bytes) -> bool:
    return False


def _reaches_beyond_host(name: bytes, value: bytes) -> bool:
    if name == b"set-cookie":
        return cookies.admit_set_cookie(value, b"") != value
    return name == b"clear-site-data" and spare_neighbours(_tidy(name, value)) != _tidy(name, value)


def _tidy(name: bytes, value: bytes) -> bytes:
    """Return a field's value as it is sent; the values of Clear-Site-Data in one canonical form."""
    return b", ".join(kind.strip(b" \t") for kind in value.split(b",")) if name == b"clear-site-data" else value


def _stripped(text: str) -> bytes:
    return text.strip(" \t").encode()
