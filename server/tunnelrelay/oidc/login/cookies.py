"""Creates the cookies that the relay sets at an endpoint's host. `policy.cookies` reads them from requests.

https: `__Host-tunnel` and `__Host-tunnel-tx-…`, Secure. Plain http (domain `localhost` only): equal names without
prefix, and not Secure. All are HttpOnly, host-only and SameSite=Lax: Strict cookies are not sent when a visitor comes
back from the provider.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tunnelrelay.policy import cookies

MAX_TRANSACTIONS = 20
"""Maximum unfinished logins of a browser at one host, one for each open tab; beyond that the oldest is dropped. Each is
a cookie of about 500 bytes for ten minutes: together 10 of the 32 kB that a request's head may have. A tab whose cookie
was dropped still gets to its page once another tab has signed in."""


@dataclass(frozen=True, slots=True)
class CookieJar:
    """Names and attributes of the relay's cookies, for http or https.

    Attributes:
        is_secure: The public address is https.
    """

    is_secure: bool

    @property
    def session(self) -> bytes:
        """Name of the session cookie."""
        return cookies.SESSION if self.is_secure else cookies.SESSION_PLAIN

    @property
    def transaction(self) -> bytes:
        """Prefix of the names of login cookies."""
        return cookies.TRANSACTION if self.is_secure else cookies.TRANSACTION_PLAIN

    def transaction_name(self, tx: str) -> bytes:
        """Return the name of the cookie of one login; `tx` is the login's id in hex."""
        return self.transaction + tx[:8].encode("ascii")

    def set(self, name: bytes, value: bytes, *, max_age: int | None = None) -> bytes:
        """Return a Set-Cookie value.

        Args:
            max_age: Lifetime in seconds; None until the browser closes, 0 to remove the cookie.
        """
        age = b"" if max_age is None else b"; Max-Age=%d" % max_age
        secure = b"; Secure" if self.is_secure else b""
        return b"%s=%s; Path=/%s; HttpOnly; SameSite=Lax%s" % (name, value, age, secure)

    def clear(self, name: bytes) -> bytes:
        """Return a Set-Cookie value that removes one of the relay's cookies."""
        return self.set(name, b"", max_age=0)

    def session_in(self, values: Sequence[bytes]) -> bytes | None:
        """Return the value of the session cookie in these Cookie fields; None when there is none, or more than one."""
        return cookies.one(values, self.session)

    def transactions_in(self, values: Iterable[bytes]) -> list[tuple[bytes, str]]:
        """Return (name, value) of the login cookies. A name that occurs twice is left out."""
        found = cookies.with_prefix(values, self.transaction)
        times = Counter(name for name, _ in found)  # a head can contain thousands of them
        return [(name, value.decode("latin-1")) for name, value in found if times[name] == 1]
