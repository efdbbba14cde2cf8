"""Which published keys are fit (row 25)."""

from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey

from tests.oidc.world import RSA_KEY, public
from tunnelctl.oidc.base64url import b64url
from tunnelctl.oidc.errors import ProviderError
from tunnelctl.oidc.keys import read_keys

EC_KEY = public(ECKey.generate_key("P-256"), kid="e1")


def rsa(modulus: int, exponent: int) -> dict[str, Any]:
    def number(value: int) -> str:
        return b64url(value.to_bytes((value.bit_length() + 7) // 8))

    return {"kty": "RSA", "kid": "k1", "n": number(modulus), "e": number(exponent)}


@pytest.mark.parametrize(
    "jwk",
    [
        rsa((1 << 16383) + 1, 65537),
        rsa((1 << 1023) + 1, 65537),
        rsa((1 << 2047) + 1, (1 << 2047) + 1),
        rsa((1 << 2047) + 1, 1),
        rsa((1 << 2047) + 1, 65536),
        {**rsa((1 << 2047) + 1, 3), "e": "A" * 400 + "Aw"},
        {"kty": "oct", "kid": "k1", "k": "c2VjcmV0"},
        {**EC_KEY, "y": EC_KEY["x"]},
        {**EC_KEY, "crv": "secp256k1"},
        {**EC_KEY, "crv": "P-384"},
        {"kty": "OKP", "crv": "X25519", "x": "A" * 43},
        {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"},
        {"kty": "RSA", "kid": "k1"},
        {"kty": "RSA", "n": 5, "e": 3},
        {**public(RSA_KEY), "kid": 7},
        {**public(RSA_KEY), "use": "enc"},
        "key",
        None,
        {},
    ],
)
def test_row_25_an_unfit_key_is_left_out_and_the_fit_one_stays(jwk: Any) -> None:
    keys = read_keys({"keys": [jwk, public(RSA_KEY, kid="good")]})
    assert [key.kid for key in keys.keys] == ["good"]


@pytest.mark.parametrize("document", [{}, {"keys": None}, {"keys": {}}, {"keys": [public(RSA_KEY)] * 10_000}])
def test_row_25_what_is_no_key_set_of_sane_size_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ProviderError):
        read_keys(document)


def test_a_private_key_published_by_mistake_is_used_as_a_public_one() -> None:
    key = RSAKey.generate_key(2048, {"kid": "k1"})
    (read,) = read_keys({"keys": [key.as_dict(private=True)]}).keys
    assert not read.key.is_private
