"""Signing out of one endpoint: a page that asks, and the form that does it.

Opening an address never signs anybody out (an `<img>` on any page could do that); only the form of our own page does,
which proves itself with a token that is bound to the session.
"""

import hmac
import logging
from collections.abc import Callable, Iterable

from tunnelctl.oidc.base64url import b64url
from tunnelrelay.address import PublicAddress
from tunnelrelay.model import Field, Reply
from tunnelrelay.oidc.cookies import CookieJar
from tunnelrelay.oidc.outcomes import redirect
from tunnelrelay.oidc.sealed import KeyRing
from tunnelrelay.oidc.session import Session
from tunnelrelay.oidc.sessions import Sessions
from tunnelrelay.pages import login as pages
from tunnelrelay.pages.page import error_reply
from tunnelrelay.policy.rules import Connection
from tunnelrelay.store.base import StoreError

log = logging.getLogger(__name__)

LOGOUT_PATH = "/_tunnel/logout"
SIGNED_OUT_PATH = "/_tunnel/signed-out"


class Logout:
    """Signs visitors out. One per relay."""

    def __init__(
        self, *, address: PublicAddress, ring: KeyRing, sessions: Sessions, clock: Callable[[], float]
    ) -> None:
        self._address = address
        self._ring = ring
        self._sessions = sessions
        self._clock = clock
        self._jar = CookieJar(address.is_secure)

    async def ask(self, host: str, connection: Connection, cookie_values: list[bytes], request_id: str) -> Reply:
        """The page with the button; on to "signed out" for whoever is not signed in."""
        try:
            session = await self._session(host, connection, cookie_values)
        except StoreError:
            return pages.busy(request_id=request_id, host=host)
        if session is None:
            return self._signed_out(host)
        identity = session.identity
        who = identity.email or identity.name or identity.subject
        form = pages.sign_out(action=LOGOUT_PATH, token=self._token(session))
        return pages.logout_confirmation(host=host, who=who, form=form)

    async def submit(
        self,
        host: str,
        connection: Connection,
        form: Iterable[tuple[str, str]],
        cookie_values: list[bytes],
        request_id: str,
    ) -> Reply:
        """Signs out, if the form came from our page for this very session."""
        try:
            session = await self._session(host, connection, cookie_values)
            if session is None:
                return self._signed_out(host)
            tokens = [value for name, value in form if name == "token"]
            if len(tokens) != 1 or not hmac.compare_digest(tokens[0].encode(), self._token(session).encode()):
                log.warning("logout refused, the form's token is wrong: host=%s request=%s", host, request_id)
                return error_reply("bad_request", request_id=request_id, host=host, wants_html=True)
            await self._sessions.end(session.id_digest)
        except StoreError as error:
            log.warning("logout not written: host=%s request=%s: %s", host, request_id, error)
            return pages.busy(request_id=request_id, host=host)
        log.info("signed out: host=%s request=%s", host, request_id)
        return self._signed_out(host)

    async def _session(self, host: str, connection: Connection, cookie_values: list[bytes]) -> Session | None:
        cookie = self._jar.session_in(cookie_values)
        return None if cookie is None else await self._sessions.recall(cookie, host, connection, self._clock())

    def _signed_out(self, host: str) -> Reply:
        """On to the page that says so. Only the cache is cleared: clearing cookies would take sibling hosts' along."""
        fields: list[Field] = [
            (b"Set-Cookie", self._jar.clear(self._jar.session)),
            (b"Clear-Site-Data", b'"cache"'),
        ]
        return redirect(f"{self._address.url(host)}{SIGNED_OUT_PATH}", fields)

    def _token(self, session: Session) -> str:
        """Bound to the session, so that no other page, host or session can name it."""
        return b64url(self._ring.digest("csrf", session.id_digest))
