"""The key of the assertions is kept, and kept to ourselves."""

from pathlib import Path

import pytest
from joserfc.jwk import ECKey

from tunnelrelay.keys.assertion import AssertionSigner
from tunnelrelay.keys.key_files import SecretFileError, write_private_file


def test_the_key_survives_a_restart_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "assertion.json"
    first = AssertionSigner.load_or_create(path, issuer="https://idp.tun.example")
    assert first.jwks() == AssertionSigner.load_or_create(path, issuer="https://idp.tun.example").jwks()
    assert path.stat().st_mode & 0o777 == 0o600
    (key,) = first.jwks()["keys"]
    assert "d" not in key
    assert (key["alg"], key["use"], key["crv"]) == ("ES256", "sig", "P-256")


PEM = b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize("name", ["assertion.json", "assertion.pem"])
@pytest.mark.parametrize("content", [b"", b"junk", PEM, b'{"keys":[]}', b'{"keys":[{"kty":"EC"}]}'])
def test_a_damaged_key_file_is_said_to_be_one(tmp_path: Path, name: str, content: bytes) -> None:
    write_private_file(tmp_path / name, content)
    with pytest.raises(SecretFileError, match="hint"):
        AssertionSigner.load_or_create(tmp_path / "assertion.json", issuer="x")


def test_a_public_key_signs_nothing(tmp_path: Path) -> None:
    write_private_file(tmp_path / "assertion.pem", ECKey.generate_key("P-256").as_pem(private=False))
    with pytest.raises(SecretFileError):
        AssertionSigner.load_or_create(tmp_path / "assertion.json", issuer="x")
