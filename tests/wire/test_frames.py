from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.wire import frames
from tunnelctl.wire.errors import Code, WireError


@given(
    st.integers(0, 65535), st.integers(0, frames.TYPE_TCP), st.integers(0, frames.BODY_CHUNKED), st.binary(max_size=99)
)
def test_an_open_payload_reads_as_it_was_written(tunnel: int, type_: int, framing: int, head: bytes) -> None:
    assert frames.unpack_open(frames.pack_open(tunnel, type_, framing, head)) == (tunnel, type_, framing, head)


@given(st.integers(100, 999), st.binary(max_size=99))
def test_a_head_payload_reads_as_it_was_written(status: int, fields: bytes) -> None:
    assert frames.unpack_head(frames.pack_head(status, fields)) == (status, fields)


@given(st.sampled_from(Code), st.integers(0, frames.MAX_STREAM_ID), st.text())
def test_reasons_are_cut_to_their_limit_and_never_within_a_character(code: Code, last: int, reason: str) -> None:
    assert frames.unpack_reset(frames.pack_reset(code, reason * 20))[0] == code
    heard_code, heard_last, heard = frames.unpack_go_away(frames.pack_go_away(code, last, reason * 20))
    assert (heard_code, heard_last) == (code, last)
    assert len(heard.encode()) <= frames.MAX_REASON
    assert (reason * 20).encode(errors="replace").decode().startswith(heard)


def test_a_code_of_a_later_version_counts_as_internal() -> None:
    assert frames.unpack_reset(b"\x00\x00\xff\xff") == (Code.INTERNAL, "")


@pytest.mark.parametrize("status", [100, 102, 103, 199])
def test_1xx_heads_are_interim(status: int) -> None:
    assert frames.is_interim(frames.pack_head(status, b""))


@pytest.mark.parametrize("status", [101, 200, 204, 256 + 100, 404, 599])
def test_101_and_everything_above_1xx_is_final(status: int) -> None:
    assert not frames.is_interim(frames.pack_head(status, b""))


@pytest.mark.parametrize("payload", [b"", b"\0\1\0", b"\0\1\3\0GET", b"\0\1\0\3GET"])
def test_an_open_that_is_short_or_of_unknown_shape_is_refused(payload: bytes) -> None:
    with pytest.raises(WireError):
        frames.unpack_open(payload)


@pytest.mark.parametrize("payload", [b"", b"\0\0\0", b"\0\0\0\0", b"\0\0\0\1\0"])
def test_a_window_that_grants_nothing_or_has_a_wrong_length_is_refused(payload: bytes) -> None:
    with pytest.raises(WireError):
        frames.unpack_window(payload)


@given(st.binary(max_size=600), st.sampled_from(["open", "reset", "go_away", "window"]))
def test_any_payload_is_a_value_or_a_wire_error(payload: bytes, name: str) -> None:
    with suppress(WireError):
        getattr(frames, f"unpack_{name}")(payload)
