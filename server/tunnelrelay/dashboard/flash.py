"""Messages shown once after an action. The URL contains a key of `TEXTS`, never a text, so that a link on another site
cannot make the dashboard show a text of its own."""

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
    """Return the message of a key in a URL; "" for an unknown key."""
    return TEXTS.get(key, "")
