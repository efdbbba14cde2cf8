"""Rewrite the findings of a provider check for the dashboard: the agent's flags become labels of the form's fields."""

import re

from markupsafe import Markup

from tunnelctl.policy.fields import FIELDS

_LABELLED = [row for row in FIELDS if row.label]
LABELS = {
    **{f"{row.flag} {word}": f"“{row.label}: {text}”" for row in _LABELLED for word, text in row.choices},
    **{row.flag: f"“{row.label}”" for row in sorted(_LABELLED, key=lambda row: len(row.flag), reverse=True)},
    "--oidc": "the issuer URL",
    "--issuer-ca": "the relay's setting issuer_ca",
    "--issuer-network": "the relay's setting issuer_network",
    "--issuer-port": "the relay's setting issuer_port",
}
"""The label for each flag of the agent. Longer flags come first, as the name of one can be the beginning of another."""
_FLAG = re.compile("|".join(re.escape(flag) + r"(?![a-z-])" for flag in LABELS))
_QUOTED_FLAG = re.compile(r"`(--[^`]*)`")
_CODE = re.compile(r"`([^`]*)`")


def form_words(text: str) -> Markup:
    """Return a finding's text as HTML, with labels in place of flags, and `<code>` for text between backticks."""
    text = _QUOTED_FLAG.sub(r"\1", text)
    words = _FLAG.sub(lambda flag: LABELS[flag[0]], text)
    pieces = _CODE.split(words)
    parts = (Markup("<code>{}</code>").format(piece) if n % 2 else piece for n, piece in enumerate(pieces))
    return Markup("").join(parts)
