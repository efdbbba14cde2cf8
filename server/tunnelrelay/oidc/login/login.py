"""A login from the first redirect to the session. Read next: `start.py` and `finish.py`.

    endpoint's host              callback host                 provider
    start   ---- 303, state, cookie ---------------------------> signs the visitor in
                                 callback <---- code, state ---- 303
    finish  <--- 303, hand-off --
      cookie matches? used before? redeem the code, check the ID token, judge the rules
    303 to where the visitor wanted to go, with the session cookie

The callback host needs no cookie and never sees a token: the code is redeemed only after the browser has presented the
cookie of the login it began. Nothing is stored before that, so a flood of visitors costs no memory. If the endpoint's
own host is the callback (`finish_here`), there is no hand-off; all other steps are equal.
"""

from collections.abc import Callable

import msgspec

from tunnelctl.eventlog import EventLog
from tunnelctl.http1.head import RequestHead
from tunnelrelay.address import PublicAddress
from tunnelrelay.keys.keyring import KeyRing
from tunnelrelay.model import Peer, Reply
from tunnelrelay.observe.audit import NO_AUDIT, Audit
from tunnelrelay.oidc.login.callback import ArrivedAt, Endpoints, RefusedAnswer, read_answer
from tunnelrelay.oidc.login.finish import Finisher
from tunnelrelay.oidc.login.limits import LoginLimits
from tunnelrelay.oidc.login.outcomes import LoginEnd, redirect
from tunnelrelay.oidc.login.query import Params
from tunnelrelay.oidc.login.return_path import return_path, return_url
from tunnelrelay.oidc.login.sealed_state import MAX_BLOB, seal_blob
from tunnelrelay.oidc.login.start import LoginOptions, Starter
from tunnelrelay.oidc.login.third_party_login import Initiation
from tunnelrelay.oidc.login.visitor_request import VisitorRequest
from tunnelrelay.oidc.providers.provider import ProviderClient
from tunnelrelay.oidc.sessions.sessions import Sessions
from tunnelrelay.pages import login as pages
from tunnelrelay.policy.rules import Connection
from tunnelrelay.store.base import MarkStore, StoreError

log = EventLog(__name__)

HANDOFF_PATH = "/_tunnel/oidc/cb"


class Login:
    """Signs visitors in. A relay has one instance.

    Args:
        shared_owners: Owners that may use the shared callback; see `Starter`.
    """

    def __init__(
        self,
        *,
        address: PublicAddress,
        ring: KeyRing,
        sessions: Sessions,
        providers: ProviderClient,
        store: MarkStore,
        endpoints: Endpoints,
        clock: Callable[[], float],
        audit: Audit = NO_AUDIT,
        limits: LoginLimits | None = None,
        shared_owners: frozenset[str] = frozenset(),
    ) -> None:
        self._address = address
        self._ring = ring
        self._endpoints = endpoints
        self._clock = clock
        self._audit = audit
        self._starter = Starter(
            address=address,
            ring=ring,
            providers=providers,
            endpoints=endpoints,
            clock=clock,
            audit=audit,
            limits=limits,
            shared_owners=shared_owners,
        )
        self._finisher = Finisher(
            starter=self._starter,
            address=address,
            ring=ring,
            sessions=sessions,
            providers=providers,
            store=store,
            endpoints=endpoints,
            clock=clock,
            audit=audit,
        )

    async def start(
        self, host: str, connection: Connection, head: RequestHead, request_id: str, peer: Peer
    ) -> LoginEnd:
        """Redirect to the provider. Must be called only for requests that `policy.classify` calls a navigation.

        The login takes only the target from the request, so a visitor cannot add parameters.
        """
        request = VisitorRequest(
            host=host,
            connection=connection,
            cookie_values=head.get_all(b"cookie"),
            request_id=request_id,
            peer=peer,
        )
        return await self._starter.start(request, LoginOptions(return_path=return_path(head.target)))

    async def start_third_party(self, request: VisitorRequest, initiation: Initiation) -> LoginEnd:
        """Begin a login that the provider started (Core section 4).

        A visitor who is signed in is redirected to the app.
        """
        try:
            if await self._finisher.is_signed_in(request):
                return LoginEnd(redirect(return_url(self._address.url(request.host), initiation.return_path)), "ok")
        except StoreError as error:
            log.warning("login not started, the store is away", host=request.host, error=error)
            return LoginEnd(pages.busy(request_id=request.request_id, host=request.host), "failed")
        options = LoginOptions(return_path=initiation.return_path, login_hint=initiation.login_hint)
        return await self._starter.start(request, options)

    async def switch(self, request: VisitorRequest, params: Params) -> LoginEnd:
        """Begin a new login in which the provider asks which account to use."""
        path, is_ours = self._finisher.refused(request, params)
        if not is_ours:
            return LoginEnd(pages.start_again(request_id=request.request_id, host=request.host, path=path), "failed")
        return await self._starter.start(request, LoginOptions(return_path=path, prompt="select_account"))

    async def callback(self, params: Params, arrived: ArrivedAt, request_id: str, peer: Peer) -> Reply:
        """Forward the provider's response to the endpoint's host. Makes no calls and reads no cookies."""
        answer = read_answer(params, arrived, ring=self._ring, endpoints=self._endpoints, now=self._clock())
        if isinstance(answer, RefusedAnswer):
            self._audit.record("login.error", reason=answer.code, peer=peer.host, request_id=request_id)
            address = return_url(self._address.url(answer.host), answer.return_path) if answer.host else ""
            host, home = answer.host or self._address.domain, self._address.url(self._address.domain)
            return pages.stray_answer(answer.code, request_id=request_id, host=host, home=home, address=address)
        blob = seal_blob(self._ring, answer.host, answer)
        if len(blob) > MAX_BLOB:
            # A code of several kB, and an equally long URL.
            blob = seal_blob(self._ring, answer.host, msgspec.structs.replace(answer, return_path="/"))
        return redirect(f"{self._address.url(answer.host)}{HANDOFF_PATH}?h={blob}")

    async def finish(self, request: VisitorRequest, params: Params) -> LoginEnd:
        """Finish a login at the endpoint's own host: create a session and redirect, or show an error page."""
        return await self._finisher.finish(request, params)

    async def finish_here(self, request: VisitorRequest, params: Params) -> LoginEnd:
        """Handle the provider's response at the endpoint's own callback: `callback` and `finish` in one request."""
        arrived = ArrivedAt("host", request.host)
        answer = read_answer(params, arrived, ring=self._ring, endpoints=self._endpoints, now=self._clock())
        if isinstance(answer, RefusedAnswer):
            return await self._finisher.refuse(request, answer.code, answer.return_path)
        return await self._finisher.arrive(request, answer)
