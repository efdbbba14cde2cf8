"""Whether a request that changes something was meant by the user who is signed in (rows 137, 143).

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
    """The token of a session: a keyed digest, so that nothing needs to be kept, and no cookie can be read off it."""
    return hmac.digest(key, b"csrf\0" + hashlib.sha256(session).digest(), "sha256").hex()


def is_token(token: str, shown: Sequence[str]) -> bool:
    """Whether exactly one token was shown, and it is this one."""
    return len(shown) == 1 and hmac.compare_digest(token.encode(), shown[0].encode(errors="replace"))


def is_own_origin(origin: str, sent: Sequence[bytes], fetch_site: Sequence[bytes]) -> bool:
    """Whether a page of ours has sent this. Without an `Origin` it is not known: no.

    Args:
        origin: Ours.
        sent: Every value of `Origin`.
        fetch_site: Every value of `Sec-Fetch-Site`, which old browsers do not send.
    """
    return list(sent) == [origin.encode()] and list(fetch_site) in ([], [b"same-origin"])
