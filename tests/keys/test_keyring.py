"""Sealed blobs open for whom they were sealed, unchanged, and for nobody else."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oidc.world import APP, EVIL, START
from tests.support.every import every
from tunnelctl.oidc.base64url import b64url, unb64url
from tunnelrelay.keys.key_files import SecretFileError, write_private_file
from tunnelrelay.keys.keyring import KeyRing, Master
from tunnelrelay.oidc.login.sealed_state import Handoff, State, Transaction, open_blob, seal_blob

RING = KeyRing.generate()
HANDOFF = Handoff(
    tx="ab" * 16, binding=b"b" * 32, connection_id="c", epoch="e", host=APP, expires_at=START + 60, code="code"
)
BLOB = seal_blob(RING, APP, HANDOFF)


def test_a_blob_opens_for_its_purpose_and_audience() -> None:
    assert open_blob(RING, Handoff, APP, BLOB, START) == HANDOFF


@given(st.integers(0, len(BLOB) - 1), st.characters(max_codepoint=255))
def test_no_changed_byte_is_accepted(at: int, other: str) -> None:
    """Row 81."""
    changed = BLOB[:at] + other + BLOB[at + 1 :]
    assert (open_blob(RING, Handoff, APP, changed, START) is None) == (changed != BLOB)


def test_no_bit_flip_is_accepted_anywhere() -> None:
    """Row 81."""
    for at in range(len(BLOB)):
        for bit in range(8):
            changed = BLOB[:at] + chr(ord(BLOB[at]) ^ 1 << bit) + BLOB[at + 1 :]
            assert open_blob(RING, Handoff, APP, changed, START) is None, (at, bit)


@every("cut", range(len(BLOB)))
def test_no_truncation_is_accepted(cut: int) -> None:
    """Row 81."""
    assert open_blob(RING, Handoff, APP, BLOB[:cut], START) is None


@given(st.text(max_size=400))
def test_no_other_text_is_accepted(text: str) -> None:
    """Row 39."""
    assert open_blob(RING, Handoff, APP, text, START) is None


@pytest.mark.parametrize("suffix", ["=", "==", "A", ".", "\n", " ", "%00", ".v1"])
def test_a_blob_with_something_behind_it_is_not_accepted(suffix: str) -> None:
    """Row 81."""
    assert open_blob(RING, Handoff, APP, BLOB + suffix, START) is None


def test_a_blob_of_another_purpose_is_not_accepted() -> None:
    """Row 81."""
    assert RING.open("tx-cookie", APP, BLOB, 8192) is None
    assert open_blob(RING, State, APP, BLOB, START) is None
    assert open_blob(RING, Transaction, APP, BLOB, START) is None


def test_a_blob_for_one_host_is_not_accepted_on_another() -> None:
    """Row 37."""
    assert open_blob(RING, Handoff, EVIL, BLOB, START) is None


def test_a_swapped_key_id_is_not_accepted() -> None:
    """Row 81."""
    first, second = RING.generate(START), KeyRing.generate(START)
    masters = tuple(KeyRing.generate(START + n).masters[0] for n in range(2))
    ring = KeyRing(b"r" * 32, masters)
    version, kid, body = ring.seal("handoff", APP, b"x").split(".")
    other = next(master.kid for master in masters if master.kid != kid)
    assert ring.open("handoff", APP, f"{version}.{other}.{body}", 999) is None
    assert second.open("handoff", APP, first.seal("handoff", APP, b"x"), 999) is None


def test_an_expired_blob_is_not_accepted() -> None:
    """Row 39."""
    assert open_blob(RING, Handoff, APP, BLOB, START + 60) is None


def test_a_blob_over_the_limit_is_not_even_decoded() -> None:
    """Row 39."""
    blob = RING.seal("handoff", APP, b"x" * 100_000)
    assert RING.open("handoff", APP, blob, 8192) is None


def test_old_keys_open_and_the_newest_seals() -> None:
    old = Master(kid="old1", created=1.0, secret=b"o" * 32)
    new = Master(kid="new1", created=2.0, secret=b"n" * 32)
    blob = KeyRing(b"r" * 32, (old,)).seal("state", APP, b"x")
    ring = KeyRing(b"r" * 32, (old, new))
    assert ring.open("state", APP, blob, 999) == b"x"
    assert ring.seal("state", APP, b"x").startswith("v1.new1.")


def test_digests_survive_a_rotation_and_differ_by_purpose() -> None:
    old = Master(kid="old1", created=1.0, secret=b"o" * 32)
    new = Master(kid="new1", created=2.0, secret=b"n" * 32)
    one, two = KeyRing(b"r" * 32, (old,)), KeyRing(b"r" * 32, (old, new))
    assert one.digest("conn", b"x") == two.digest("conn", b"x") != two.digest("csrf", b"x")


@given(st.binary(max_size=64))
def test_base64url_has_one_spelling(data: bytes) -> None:
    text = b64url(data)
    assert unb64url(text) == data
    assert unb64url(text + "=") is None


def test_a_ring_survives_on_disk_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    blob = KeyRing.load_or_create(path).seal("state", APP, b"x")
    assert KeyRing.load_or_create(path).open("state", APP, blob, 999) == b"x"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["keys.json"]


def test_a_ring_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    KeyRing.load_or_create(path)
    path.chmod(0o644)
    with pytest.raises(SecretFileError, match="chmod 600"):
        KeyRing.load_or_create(path)


def test_a_link_planted_in_the_place_of_a_key_file_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    (tmp_path / "keys.json").symlink_to(target)
    with pytest.raises(FileExistsError):
        write_private_file(tmp_path / "keys.json", b"secret")
    assert not target.exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"null", b'{"version":2,"root":"","masters":[]}', b"\xff"])
def test_a_damaged_ring_is_said_to_be_one(tmp_path: Path, content: bytes) -> None:
    write_private_file(tmp_path / "keys.json", content)
    with pytest.raises(SecretFileError):
        KeyRing.load_or_create(tmp_path / "keys.json")


def test_nobody_prints_a_key() -> None:
    assert "o" * 8 not in repr(Master(kid="k", created=0.0, secret=b"o" * 32))
