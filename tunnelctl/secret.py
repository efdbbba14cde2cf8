"""Keeps secrets out of output: a type that does not print, and a redactor for texts that may hold secrets.

Both programs use both. The type is the first line, the redactor the last one: it knows secrets by their shape only.
"""

import hmac
import re
from typing import NoReturn

MASK = "[secret]"
REDACTED = "[redacted]"

_NAMES = (
    "client_secret|password|passwd|authtoken|access_token|refresh_token|id_token|id_token_hint|logout_token|code_verifier"
    "|client_assertion|assertion"
)
"""Members and parameters whose value is a secret wherever they stand."""
_FIELDS = "cookie|set-cookie|authorization|proxy-authorization|x-tunnel-assertion"
"""Header fields of which nothing is shown."""

_SECRET_NAMES = frozenset(f"{_NAMES}|{_FIELDS}".split("|"))

# No alternative may scan a character from many starting points (quadratic time): strangers choose what is logged.
_SECRETS = re.compile(
    r"t[act]_[0-9A-Za-z]{16,}"  # an agent's token, an API key, a one-time code
    r"|(?<![\w-])eyJ[\w-]{8,}+(?:\.[\w-]*+){1,4}"  # a JWT or JWE: it begins with {" in base64url
    r"|\bv1\.[0-9a-f]{8}\.[\w-]{16,}"  # a sealed blob: state, hand-off, login cookie, session
    rf"|(?<![\w-])(?:{_FIELDS})(?:: |[\"'], ?b?[\"'])(?P<field>[^\r\n\"']+)"  # a line of a head, or a pair of them
    rf"|(?<![\w-])(?:{_NAMES})(?:=|[\"']\s?[:=,]\s?)(?:b?[\"'](?P<quoted>[^\"']+)|(?P<plain>[^\s&\"',;]+))"
    r"|(?<=bearer )[^\s\"',;]+|(?<=basic )[^\s\"',;]{6,}"  # what stands in Authorization
    r"|(?:(?<=tunnel=)|(?<=tunnel-tx-[0-9a-f]{8}=))[^\s\"',;]+"  # a session's cookie, and a login's
    r"|(?:(?<=[?&]code=)|(?<=[?&]state=)|(?<=[?&]h=))[^\s&\"']+",  # parameters of a login
    re.IGNORECASE,
)


class Secret:
    """A text that opens something. It prints as `[secret]` wherever it ends up; `reveal` is the only way to it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one place that must send or compare it."""
        return self._text

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        """Whether two are alike, in time that does not tell how much of them is."""
        return isinstance(other, Secret) and hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        """Alike for those that are alike."""
        return hash(self._text)

    def __repr__(self) -> str:
        """Never the text."""
        return MASK

    def __format__(self, spec: str) -> str:
        """Never the text."""
        return format(MASK, spec)

    def __reduce__(self) -> NoReturn:
        """A copy, in memory or on a disk, would hold the text."""
        raise TypeError("a secret is not copied")


def redact(text: str) -> str:
    """The text with everything that is shaped like a known secret replaced by `[redacted]`."""
    return _SECRETS.sub(_redacted, text)


def redact_field(name: str, text: str) -> str:
    """The text of a log field, redacted: wholly when its name is that of a secret."""
    return REDACTED if name.replace("_", "-") in _SECRET_NAMES or name in _SECRET_NAMES else redact(text)


def _redacted(found: re.Match[str]) -> str:
    """A named value keeps its name, so that the line still says what it was about."""
    named = found.lastgroup
    return REDACTED if named is None else found.string[found.start() : found.start(named)] + REDACTED
