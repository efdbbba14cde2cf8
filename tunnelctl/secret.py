"""Keeps secrets out of output: a type that does not print its text, and a redactor for texts that may contain secrets.

Agent and relay use both. The redactor is the fallback behind the type: it recognises secrets only by their form.
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
"""Names of JSON members and parameters whose value is always a secret."""
_FIELDS = "cookie|set-cookie|authorization|proxy-authorization|x-tunnel-assertion"
"""Names of header fields whose values are never shown."""

_SECRET_NAMES = frozenset(f"{_NAMES}|{_FIELDS}".split("|"))

# Every alternative must have few possible starting points (else quadratic time), as untrusted peers influence what is
# logged.
_SECRETS = re.compile(
    r"t[actr]_[0-9A-Za-z]{16,}"  # an agent's token, an API key, a one-time code, the token of a run
    r"|(?<![\w-])eyJ[\w-]{8,}+(?:\.[\w-]*+){1,4}"  # a JWT or JWE, which begins with {" in base64url
    r"|\bv1\.[0-9a-f]{8}\.[\w-]{16,}"  # an encrypted value: login state, hand-off, login cookie, session
    rf"|(?<![\w-])(?:{_FIELDS})(?:: |[\"'], ?b?[\"'])(?P<field>[^\r\n\"']+)"  # a header line, or a (name, value) pair
    rf"|(?<![\w-])(?:{_NAMES})(?:=|[\"']\s?[:=,]\s?)(?:b?[\"'](?P<quoted>[^\"']+)|(?P<plain>[^\s&\"',;]+))"
    r"|(?<=bearer )[^\s\"',;]+|(?<=basic )[^\s\"',;]{6,}"  # credentials in Authorization
    r"|(?:(?<=tunnel=)|(?<=tunnel-tx-[0-9a-f]{8}=))[^\s\"',;]+"  # the cookies of a session and of a login
    r"|(?:(?<=[?&]code=)|(?<=[?&]state=)|(?<=[?&]h=))[^\s&\"']+",  # parameters of a login
    re.IGNORECASE,
)


class Secret:
    """A secret text that always prints as `[secret]`; only `reveal` returns the text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the secret text, for the code that must send or compare it."""
        return self._text

    def __bool__(self) -> bool:
        """Return whether the text is not empty."""
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        """Compare two secrets in constant time, so that timing does not reveal how much of them matches."""
        return isinstance(other, Secret) and hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        """Return the hash of the text, so that equal secrets have equal hashes."""
        return hash(self._text)

    def __repr__(self) -> str:
        """Return `[secret]`, never the text."""
        return MASK

    def __format__(self, spec: str) -> str:
        """Return `[secret]`, never the text."""
        return format(MASK, spec)

    def __reduce__(self) -> NoReturn:
        """Refuse copying and pickling, as the copy would contain the text."""
        raise TypeError("a secret is not copied")


def redact(text: str) -> str:
    """Return the text with everything that has the form of a known secret replaced by `[redacted]`."""
    return _SECRETS.sub(_redacted, text)


def redact_field(name: str, text: str) -> str:
    """Return the text of a log field, redacted; completely if the field's name is that of a secret."""
    return REDACTED if name.replace("_", "-") in _SECRET_NAMES or name in _SECRET_NAMES else redact(text)


def _redacted(found: re.Match[str]) -> str:
    """Replace the value of a match but keep its name, so that the line stays understandable."""
    named = found.lastgroup
    return REDACTED if named is None else found.string[found.start() : found.start(named)] + REDACTED
