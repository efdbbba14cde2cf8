"""Ids of what people set up: a prefix that says what it is, then time and chance.

Ids of one kind sort by when they were made, so that a list can be read on behind any of its ids, also one that is gone.
"""

import secrets
from base64 import b32hexdecode, b32hexencode

TIME_BYTES, CHANCE_BYTES = 6, 9
"""48 bits of milliseconds and 72 of chance: 15 bytes are 24 digits of base 32 with none left over."""

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
    "tunnel": "tn_",
    "tunnel_session": "ts_",
    "endpoint": "ep_",
    "sign_in": "si_",
}
"""Those that ngrok has too are spelt as there: programs tell kinds apart by them."""


def new_id(kind: str, at: float) -> str:
    """A new id of a kind in `PREFIXES`.

    Args:
        at: Unix time. Two ids of one millisecond sort by chance.
    """
    made_of = int(at * 1000).to_bytes(TIME_BYTES) + secrets.token_bytes(CHANCE_BYTES)
    return PREFIXES[kind] + b32hexencode(made_of).decode().lower()


def made_at(row_id: str) -> float:
    """When an id of `new_id` was made: Unix time."""
    digits = row_id.rpartition("_")[2].upper()
    return int.from_bytes(b32hexdecode(digits)[:TIME_BYTES]) / 1000
