"""The URLs of redirects to the dashboard's sign-in page, and back to the page that was requested."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

SIGN_IN = "/sign-in"
MAX_NEXT = 512
_OWN_PATH = re.compile(r"/(?![/\\])[A-Za-z0-9/_.~%?&=-]*")
"""A path that no browser reads as another host: it has no second slash at its start, no backslash, no control
character."""


def own_path(text: str) -> str:
    """Return `text` when it is a path of the dashboard, otherwise `/`, so that no redirect leads to another host."""
    is_ours = len(text) <= MAX_NEXT and _OWN_PATH.fullmatch(text) and not text.startswith((SIGN_IN, "/_tunnel"))
    return text if is_ours else "/"


def sign_in_address(scope: Mapping[str, Any]) -> str:
    """Return the path of the sign-in page, with a query that leads back to the requested page."""
    query = scope["query_string"].decode("latin-1")
    target = own_path(scope["path"] + (f"?{query}" if query else ""))
    return SIGN_IN if target == "/" else f"{SIGN_IN}?next={quote(target, safe='/')}"
