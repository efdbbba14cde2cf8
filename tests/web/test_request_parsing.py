"""What is read of a request to the relay's own pages: forms and queries, strictly or not at all."""

from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect, Request

from tunnelrelay.web.request_parsing import (
    MAX_FORM,
    MAX_PARAMS,
    Params,
    field_values,
    form_params,
    page_request_of,
    query_params,
)

FORM = b"application/x-www-form-urlencoded"


class Sender:
    """A visitor that sends a form in pieces.

    Attributes:
        taken: How many of them were read.
    """

    def __init__(self, *pieces: bytes, types: tuple[bytes, ...] = (FORM,), leaves: bool = False) -> None:
        self.pieces = pieces
        self.types = types
        self.leaves = leaves
        self.taken = 0

    async def receive(self) -> dict[str, Any]:
        if self.taken == len(self.pieces):
            return {"type": "http.disconnect"} if self.leaves else {"type": "http.request", "body": b""}
        self.taken += 1
        is_last = self.taken == len(self.pieces) and not self.leaves
        return {"type": "http.request", "body": self.pieces[self.taken - 1], "more_body": not is_last}

    async def form(self, **limits: int) -> Params | None:
        headers = [(b"content-type", each) for each in self.types]
        scope = {"type": "http", "method": "POST", "headers": headers}
        return await form_params(Request(scope, self.receive), **limits)


async def test_a_form_is_its_pairs_in_order_twice_and_empty_ones_too() -> None:
    assert await Sender(b"a=1&b=", b"&a=2%20x+y").form() == [("a", "1"), ("b", ""), ("a", "2 x y")]


@pytest.mark.parametrize("kind", [FORM + b"; charset=utf-8", FORM.upper(), b" " + FORM + b" ;x"])
async def test_the_type_may_have_parameters_and_any_case(kind: bytes) -> None:
    assert await Sender(b"a=1", types=(kind,)).form() == [("a", "1")]


@pytest.mark.parametrize(
    "types", [(), (FORM, FORM), (b"multipart/form-data; boundary=x",), (FORM + b"2",), (b"",), (b";" + FORM,)]
)
async def test_a_body_of_another_type_is_no_form_and_is_not_read(types: tuple[bytes, ...]) -> None:
    sender = Sender(b"a=1", types=types)
    assert await sender.form() is None
    assert sender.taken == 0


async def test_a_form_may_be_as_large_as_the_limit_and_no_larger() -> None:
    assert await Sender(b"a=" + b"x" * (MAX_FORM - 2)).form() == [("a", "x" * (MAX_FORM - 2))]
    assert await Sender(b"a=" + b"x" * (MAX_FORM - 1)).form() is None
    assert await Sender(b"a=123456").form(max_bytes=7) is None


async def test_no_more_of_a_form_that_is_too_large_is_read_than_shows_it() -> None:
    sender = Sender(*[b"x" * 1000] * 1000)
    assert await sender.form() is None
    assert sender.taken == MAX_FORM // 1000 + 1


async def test_a_form_whose_sender_leaves_is_not_taken_for_a_whole_one() -> None:
    with pytest.raises(ClientDisconnect):
        await Sender(b"a=1", leaves=True).form()


@pytest.mark.parametrize("encoded", [b"a=\xff", b"a=%ff", b"\xc3\xa4=1", b"a=%ed%a0%80"])
async def test_what_is_no_utf_8_is_no_parameter_at_all(encoded: bytes) -> None:
    """Row 39."""
    assert await Sender(b"b=1&" + encoded).form() == []
    assert query_params({"query_string": b"b=1&" + encoded}) == []


async def test_a_flood_of_parameters_is_none() -> None:
    most = b"&".join([b"a=1"] * MAX_PARAMS)
    assert len(query_params({"query_string": most})) == len(await Sender(most).form() or ()) == MAX_PARAMS
    assert query_params({"query_string": most + b"&a=1"}) == await Sender(most + b"&a=1").form() == []
    assert await Sender(b"a=1&b=2").form(max_params=1) == []


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=MAX_PARAMS))
def test_what_a_browser_encodes_is_read_as_it_was_meant(pairs: list[tuple[str, str]]) -> None:
    encodable = [pair for pair in pairs if not any("\ud800" <= each <= "\udfff" for each in "".join(pair))]
    assert query_params({"query_string": urlencode(encodable).encode()}) == encodable


def test_fields_are_raw_and_each_is_there() -> None:
    scope = {"headers": [(b"cookie", b"a=1"), (b"host", b"x"), (b"cookie", b"\xa0b")]}
    assert field_values(scope, b"cookie") == [b"a=1", b"\xa0b"]
    assert field_values(scope, b"origin") == []


@pytest.mark.parametrize("scope", [{}, {"tunnel": None}, {"tunnel": {"host": "app.tun.example"}}])
def test_nothing_is_believed_that_the_ingress_did_not_find_out(scope: dict[str, Any]) -> None:
    with pytest.raises((KeyError, AssertionError)):
        page_request_of(scope)
