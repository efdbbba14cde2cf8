"""Providers that a relay knows by name: `@work` stands where an issuer would. Pure."""

from tunnelctl.wire.texts import is_name

SIGN = "@"
"""A provider's name begins with it; no issuer does."""


def is_named(issuer: str) -> bool:
    """Whether this text names a provider instead of giving its issuer."""
    return issuer.startswith(SIGN)


def name_problem(issuer: str) -> str:
    """Why this text cannot be a provider's name; "" when it can."""
    return (
        ""
        if is_named(issuer) and is_name(issuer.removeprefix(SIGN))
        else f"{issuer[:80]!r} is not a provider's name like @work"
    )
