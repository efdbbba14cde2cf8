"""The users of the test issuer, as `--user` gives them: `alice@example.com;groups=qa,dev;name=Alice`."""

from dataclasses import dataclass, field
from typing import Any

DEFAULT = "alice@example.com;groups=qa"
"""The only user if none is given."""


class UserInvalid(ValueError):
    """A text does not describe a user; the message says how to write one."""


@dataclass(frozen=True, slots=True)
class DevUser:
    """A user who can be chosen at sign-in.

    Attributes:
        sub: Subject: the user's id in tokens.
        claims: Further claims of the user's tokens.
    """

    sub: str
    claims: dict[str, Any] = field(default_factory=dict)


def parse_user(text: str) -> DevUser:
    """Parse a user. The text begins with a name or an e-mail address, which counts as verified, followed by claims.

    The claims are separated by `;` and have the form `NAME=VALUE`. `groups` is a list, separated by commas; `true` and
    `false` are booleans.

    Raises:
        UserInvalid: The text does not describe a user.
    """
    name, *pairs = (part.strip() for part in text.split(";"))
    if not name or "=" in name or not text.isprintable():
        raise UserInvalid(f"{text[:80]!r} is no user; write it as alice@example.com;groups=qa;name=Alice")
    claims: dict[str, Any] = {"name": name.partition("@")[0].capitalize()}
    if "@" in name:
        claims |= {"email": name, "email_verified": True}
    for pair in filter(None, pairs):
        claim, is_pair, value = (part.strip() for part in pair.partition("="))
        if not is_pair or not claim:
            raise UserInvalid(f"{pair[:80]!r} is no claim; write it as NAME=VALUE")
        claims[claim] = _value(claim, value)
    return DevUser(str(claims.pop("sub", name)), claims)


def _value(claim: str, value: str) -> Any:
    if claim == "groups":
        return [group.strip() for group in value.split(",") if group.strip()]
    return {"true": True, "false": False}.get(value, value)
