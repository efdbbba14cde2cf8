"""The dashboard's cookie, which only its own host may set and only it is sent.

https: `__Host-tunnel-dashboard`, which browsers take from no sibling host and not by a script. Plain http (domain
`localhost` only): the same without the prefix. SameSite is Lax, not Strict: a link in a mail opens the page it names
instead of the sign-in page, and nothing changes by a GET.
"""

from collections.abc import Sequence

from tunnelrelay.oidc.login.cookies import CookieJar
from tunnelrelay.policy import cookies

NAME, NAME_PLAIN = b"__Host-tunnel-dashboard", b"tunnel-dashboard"
"""Both begin like the relay's other cookies: the relay passes neither to an upstream, and no upstream can set one."""
KEEP_SECONDS = 30 * 86_400
"""How long a browser keeps the cookie. `services.sign_ins` decides how long it is valid."""


def name_of(*, is_secure: bool) -> bytes:
    """Return the cookie's name."""
    return NAME if is_secure else NAME_PLAIN


def read(values: Sequence[bytes], *, is_secure: bool) -> bytes | None:
    """Return the cookie's value in these Cookie fields; None without one, or with more than one."""
    return cookies.one(values, name_of(is_secure=is_secure))


def set_cookie(value: str, *, is_secure: bool) -> bytes:
    """The Set-Cookie value that signs a browser in."""
    return CookieJar(is_secure).set(name_of(is_secure=is_secure), value.encode("ascii"), max_age=KEEP_SECONDS)


def clear_cookie(*, is_secure: bool) -> bytes:
    """The Set-Cookie value that deletes the cookie."""
    return CookieJar(is_secure).clear(name_of(is_secure=is_secure))
