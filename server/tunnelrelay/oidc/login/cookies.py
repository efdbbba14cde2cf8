"""The cookies that the relay sets at an endpoint's host, as field values. `policy.cookies` reads them.

https: `__Host-tunnel` and `__Host-tunnel-tx-…`, Secure. Plain http (domain `localhost` only): the same without prefix
and Secure. All are HttpOnly, host-only and SameSite=Lax: Strict ones are not sent when a visitor comes back from the
provider.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tunnelrelay.policy import cookies

MAX_TRANSACTIONS = 20
"""Logins a browser may have under way at one host, one for each tab that waits for its visitor; then the oldest goes.
Each is a cookie of some 500 bytes for ten minutes: together 10 of the 32 kB that a request's head may have. A tab whose
cookie went gets to its address all the same once another one has signed in."""


@dataclass(frozen=True, slots=True)
class CookieJar:
    """Names and attributes for one scheme.

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
        """Prefix of the login cookies' names."""
        return cookies.TRANSACTION if self.is_secure else cookies.TRANSACTION_PLAIN

    def transaction_name(self, tx: str) -> bytes:
        """Name of the cookie of one login; `tx` is its id in hex."""
        return self.transaction + tx[:8].encode("ascii")

    def set(self, name: bytes, value: bytes, *, max_age: int | None = None) -> bytes:
        """A Set-Cookie value.

        Args:
            max_age: Seconds; None for as long as the browser runs, 0 to remove the cookie.
        """
        age = b"" if max_age is None else b"; Max-Age=%d" % max_age
        secure = b"; Secure" if self.is_secure else b""
        return b"%s=%s; Path=/%s; HttpOnly; SameSite=Lax%s" % (name, value, age, secure)

    def clear(self, name: bytes) -> bytes:
        """A Set-Cookie value that removes a cookie of ours."""
        return self.set(name, b"", max_age=0)

    def session_in(self, values: Sequence[bytes]) -> bytes | None:
        """The session cookie in these Cookie fields; None when there is none, or more than one."""
        return cookies.one(values, self.session)

    def transactions_in(self, values: Iterable[bytes]) -> list[tuple[bytes, str]]:
        """(name, blob) of the login cookies. A name that occurs twice is left out."""
        found = cookies.with_prefix(values, self.transaction)
        times = Counter(name for name, _ in found)  # a head has room for thousands
        return [(name, value.decode("latin-1")) for name, value in found if times[name] == 1]
