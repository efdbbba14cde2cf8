"""What a page says once after something was done. The address carries the word, never the sentence: whoever makes
links can choose among these and write none of his own."""

SAID = {
    "saved": "Saved. It holds from the next request on.",
    "created": "Created.",
    "kept": "Saved.",
    "deleted": "Deleted.",
    "revoked": "Revoked. It is worth nothing from now on.",
    "released": "Released.",
    "draining": "Draining: it takes no new requests and finishes those it has.",
    "disconnected": "Disconnected.",
    "login_ended": "Ended. They sign in again or stay out.",
    "logins_ended": "All of these logins ended. Their visitors have to sign in again.",
    "ended": "Signed out there.",
    "removed": "Removed. It holds from the next request on.",
    "signed_out": "You are signed out.",
    "over": "Your session is over. Sign in again to go on.",
}


def said(word: str) -> str:
    """The sentence; "" for words that are none of ours."""
    return SAID.get(word, "")
