"""The dashboard's session cookie, which browsers accept from the dashboard's host only and send to that host only.

Its name over https is `__Host-tunnel-dashboard`: the prefix keeps sibling hosts from setting it. Over plain http (only
with the domain `localhost`) the name has no prefix. SameSite is Lax, not Strict, so that a link in a mail opens the
linked page and not the sign-in page; a GET changes nothing.
"""

from collections.abc import Sequence

from tunnelrelay.oidc.login.cookies import CookieJar
from tunnelrelay.policy import cookies

NAME, NAME_PLAIN = b"__Host-tunnel-dashboard", b"tunnel-dashboard"
"""Names of the cookie over https and over plain http. Both begin like the relay's other cookies, which the relay never
passes to a local app and which no app can set."""
KEEP_SECONDS = 30 * 86_400
"""Seconds for which a browser keeps the cookie. `services.sign_ins` decides how long it is valid."""


def name_of(*, is_secure: bool) -> bytes:
    """Return the name of the dashboard's cookie over https, or over plain http."""
    return NAME if is_secure else NAME_PLAIN


def read(values: Sequence[bytes], *, is_secure: bool) -> bytes | None:
    """Return the dashboard's cookie in the values of a request's `Cookie` fields; None for none, or more than one."""
    return cookies.one(values, name_of(is_secure=is_secure))


def set_cookie(value: str, *, is_secure: bool) -> bytes:
    """Return the value of `Set-Cookie` that signs a browser in to the dashboard."""
    return CookieJar(is_secure).set(name_of(is_secure=is_secure), value.encode("ascii"), max_age=KEEP_SECONDS)


def clear_cookie(*, is_secure: bool) -> bytes:
    """Return the value of `Set-Cookie` that deletes the dashboard's cookie."""
    return CookieJar(is_secure).clear(name_of(is_secure=is_secure))
