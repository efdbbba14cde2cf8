"""Where the sign-in page is, and where it leads to afterwards."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

SIGN_IN = "/sign-in"
MAX_NEXT = 512
_OWN_PATH = re.compile(r"/(?![/\\])[A-Za-z0-9/_.~%?&=-]*")
"""A path on this host, and nothing that a browser could take for another one: no second slash, backslash or control."""


def own_path(text: str) -> str:
    """Where a user may be sent on to: `text` when it is a path of the dashboard, else its first page."""
    is_ours = len(text) <= MAX_NEXT and _OWN_PATH.fullmatch(text) and not text.startswith((SIGN_IN, "/_tunnel"))
    return text if is_ours else "/"


def sign_in_address(scope: Mapping[str, Any]) -> str:
    """The sign-in page for a visitor who asked for this page."""
    query = scope["query_string"].decode("latin-1")
    wanted = own_path(scope["path"] + (f"?{query}" if query else ""))
    return SIGN_IN if wanted == "/" else f"{SIGN_IN}?next={quote(wanted, safe='/')}"
