"""Check that a change was made by the signed-in user, on a page of the dashboard.

Every tunnel of the relay is a sibling host: same-site with the dashboard, and hostile. SameSite cookies stop none of
them, so a change needs all of: POST, an `Origin` that is exactly ours, `Sec-Fetch-Site: same-origin` where a browser
sends it, and a token that only pages of this very session hold.
"""

import hashlib
import hmac
from collections.abc import Sequence

FIELD = "csrf"
HEADER = b"x-csrf-token"


def token_of(key: bytes, session: bytes) -> str:
    """Return the token of a session: a keyed digest, which needs no storage and does not reveal the cookie."""
    return hmac.digest(key, b"csrf\0" + hashlib.sha256(session).digest(), "sha256").hex()


def is_token(token: str, shown: Sequence[str]) -> bool:
    """Whether exactly one token was sent, and it is this one."""
    return len(shown) == 1 and hmac.compare_digest(token.encode(), shown[0].encode(errors="replace"))


def is_own_origin(origin: str, sent: Sequence[bytes], fetch_site: Sequence[bytes]) -> bool:
    """Whether a page of the dashboard sent the request; False without an `Origin`.

    Args:
        origin: Ours.
        sent: Every value of `Origin`.
        fetch_site: Every value of `Sec-Fetch-Site`, which old browsers do not send.
    """
    return list(sent) == [origin.encode()] and list(fetch_site) in ([], [b"same-origin"])
