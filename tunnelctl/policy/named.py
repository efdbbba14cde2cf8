"""Named providers: an owner may write `@work` instead of an issuer to use a provider that the relay's operator
configured.
"""

from tunnelctl.wire.texts import is_name

SIGN = "@"
"""First character of a named provider's name; no issuer begins with it."""


def is_named(issuer: str) -> bool:
    """Return whether the text names a provider instead of being an issuer's URL."""
    return issuer.startswith(SIGN)


def name_problem(issuer: str) -> str:
    """Return why the text is not a valid name of a provider; "" when it is valid."""
    return (
        ""
        if is_named(issuer) and is_name(issuer.removeprefix(SIGN))
        else f"{issuer[:80]!r} is not a provider's name like @work"
    )
