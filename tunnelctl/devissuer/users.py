"""The users of the test issuer, as `--user` gives them: `alice@example.com;groups=qa,dev;name=Alice`."""

from dataclasses import dataclass, field
from typing import Any

DEFAULT = "alice@example.com;groups=qa"
"""Who there is when no user is given."""


class UserInvalid(ValueError):
    """The text describes no user. Its message is for people."""


@dataclass(frozen=True, slots=True)
class DevUser:
    """One user.

    Attributes:
        sub: As its tokens name it.
        claims: Further claims of its tokens.
    """

    sub: str
    claims: dict[str, Any] = field(default_factory=dict)


def parse_user(text: str) -> DevUser:
    """A user. Before the first `;` stands its name, or its e-mail address, which is then verified.

    Behind it stand claims as `NAME=VALUE`. `groups` is a list, separated by commas; `true` and `false` are booleans.

    Raises:
        UserInvalid: It describes none.
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
