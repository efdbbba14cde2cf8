"""CSRF protection: check that a change was made by the signed-in user, on a page of the dashboard.

Every tunnel of the relay is a sibling host: same-site with the dashboard, and hostile. SameSite cookies do not stop
requests from siblings, so a change needs all of: POST, an `Origin` that is exactly the dashboard's, `Sec-Fetch-Site:
same-origin` from browsers that send it, and a token that only pages of this session contain.
"""

import hashlib
import hmac
from collections.abc import Sequence

FIELD = "csrf"
HEADER = b"x-csrf-token"


def token_of(key: bytes, session: bytes) -> str:
    """Return the CSRF token of a session: an HMAC, which needs no storage and does not reveal the session's cookie."""
    return hmac.digest(key, b"csrf\0" + hashlib.sha256(session).digest(), "sha256").hex()


def is_token(token: str, shown: Sequence[str]) -> bool:
    """Whether a request has sent exactly one CSRF token, equal to `token`."""
    return len(shown) == 1 and hmac.compare_digest(token.encode(), shown[0].encode(errors="replace"))


def is_own_origin(origin: str, sent: Sequence[bytes], fetch_site: Sequence[bytes]) -> bool:
    """Whether a page of the dashboard sent the request; False without an `Origin`.

    Args:
        origin: The dashboard's origin.
        sent: The values of the request's `Origin` fields.
        fetch_site: The values of its `Sec-Fetch-Site` fields, which old browsers do not send.
    """
    return list(sent) == [origin.encode()] and list(fetch_site) in ([], [b"same-origin"])
