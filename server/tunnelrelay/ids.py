"""Creates ids of stored resources: a prefix for the kind, then time and random bits.

Ids of one kind sort by creation time, so that a list can be continued after any id, even a deleted one.
"""

import secrets
from base64 import b32hexdecode, b32hexencode

TIME_BYTES, CHANCE_BYTES = 6, 9
"""Bytes of time and of randomness in an id: 48 bits of milliseconds and 72 random bits, exactly 24 digits of base
32."""

PREFIXES = {
    "user": "usr_",
    "api_key": "ak_",
    "credential": "tok_",
    "domain": "rd_",
    "addr": "ra_",
    "edge": "edghts_",
    "route": "edghtsrt_",
    "backend": "bkdtg_",
    "provider": "prv_",
    "trust_rule": "trust_",
    "tunnel": "tn_",
    "tunnel_session": "ts_",
    "endpoint": "ep_",
    "sign_in": "si_",
}
"""Prefix of the ids of each kind. Kinds that ngrok has too use its prefixes, as programs recognise kinds by them."""


def new_id(kind: str, at: float) -> str:
    """Return a new id of a kind in `PREFIXES`.

    Args:
        at: Unix time. The order of two ids of the same millisecond is random.
    """
    made_of = int(at * 1000).to_bytes(TIME_BYTES) + secrets.token_bytes(CHANCE_BYTES)
    return PREFIXES[kind] + b32hexencode(made_of).decode().lower()


def made_at(row_id: str) -> float:
    """Return the Unix time at which `new_id` created an id."""
    digits = row_id.rpartition("_")[2].upper()
    return int.from_bytes(b32hexdecode(digits)[:TIME_BYTES]) / 1000
