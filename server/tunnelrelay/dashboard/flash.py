"""Messages shown once after an action. The URL carries a key of `TEXTS`, never a text, so that a link from elsewhere
cannot put words on a page."""

TEXTS = {
    "saved": "Saved. It holds from the next request on.",
    "created": "Created.",
    "kept": "Saved.",
    "deleted": "Deleted.",
    "revoked": "Token revoked.",
    "released": "Released.",
    "draining": "Draining: it takes no new requests and finishes those it has.",
    "disconnected": "Disconnected.",
    "login_ended": "Login ended.",
    "logins_ended": "All of these logins ended.",
    "ended": "Signed out there.",
    "removed": "Removed. It holds from the next request on.",
    "signed_out": "You are signed out.",
    "over": "Your session is over. Sign in again to go on.",
}


def flash_text(key: str) -> str:
    """The message of a key; "" for an unknown one."""
    return TEXTS.get(key, "")
