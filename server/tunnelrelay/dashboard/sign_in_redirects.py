"""Redirects to the sign-in page and back."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

SIGN_IN = "/sign-in"
MAX_NEXT = 512
_OWN_PATH = re.compile(r"/(?![/\\])[A-Za-z0-9/_.~%?&=-]*")
"""A path that no browser takes for another host: no second slash, no backslash, no control character."""


def own_path(text: str) -> str:
    """Return `text` when it is a path of the dashboard, else the path of its first page."""
    is_ours = len(text) <= MAX_NEXT and _OWN_PATH.fullmatch(text) and not text.startswith((SIGN_IN, "/_tunnel"))
    return text if is_ours else "/"


def sign_in_address(scope: Mapping[str, Any]) -> str:
    """Return the address of the sign-in page that leads back to the requested page."""
    query = scope["query_string"].decode("latin-1")
    target = own_path(scope["path"] + (f"?{query}" if query else ""))
    return SIGN_IN if target == "/" else f"{SIGN_IN}?next={quote(target, safe='/')}"
