"""Findings of a check name settings as the agent's flags do. On a form they are called as the form calls them."""

import re

from markupsafe import Markup

LABELS = {
    "--oidc-email-verified assumed": "“An e-mail address is verified: unless the provider denies it”",
    "--oidc-allow-group": "“Groups”",
    "--oidc-groups-claim": "“Groups claim”",
    "--oidc-scope": "“Scopes”",
    "--oidc": "the issuer URL",
    "--issuer-ca": "the relay's setting issuer_ca",
    "--issuer-network": "the relay's setting issuer_network",
    "--issuer-port": "the relay's setting issuer_port",
}
"""By flag, the longest first where one begins like another."""
_FLAG = re.compile("|".join(re.escape(flag) + r"(?![a-z-])" for flag in LABELS))
_QUOTED_FLAG = re.compile(r"`(--[^`]*)`")
_CODE = re.compile(r"`([^`]*)`")


def form_words(text: str) -> Markup:
    """A finding's sentence as HTML: fields by their labels, what stands between backticks as code."""
    text = _QUOTED_FLAG.sub(r"\1", text)
    words = _FLAG.sub(lambda flag: LABELS[flag[0]], text)
    pieces = _CODE.split(words)
    parts = (Markup("<code>{}</code>").format(piece) if n % 2 else piece for n, piece in enumerate(pieces))
    return Markup("").join(parts)
