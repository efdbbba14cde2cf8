"""Decides whether a request may pass to an endpoint: looks up its session or token (oidc) and applies the policy.

`check` is the hot path: one dict look-up, no waiting. Everything else (a session that only the store knows, a new
token, the start of a login, a refusal) goes through `decide`. For a request with a token of an accepted issuer only the
token counts, whatever cookies the request has.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from tunnelctl.http1.head import RequestHead
from tunnelrelay.address import PublicAddress
from tunnelrelay.ingress.guesses import Guesses
from tunnelrelay.ingress.visitors import KnownHosts
from tunnelrelay.ingress.www_authenticate import challenges, token_challenge
from tunnelrelay.model import Field, Peer, Reply, RequestKind
from tunnelrelay.observe.audit import NO_AUDIT, Audit
from tunnelrelay.observe.metrics import Metrics
from tunnelrelay.oidc.login.outcomes import LoginEnd
from tunnelrelay.oidc.sessions.access_tokens import AccessTokens, Program, TokenRefused
from tunnelrelay.oidc.sessions.session import VisitorSession
from tunnelrelay.oidc.sessions.sessions import UNKNOWN, ProviderAway, Sessions, SessionsAway
from tunnelrelay.oidc.tokens.access_token import may_be_token
from tunnelrelay.pages.login import login_required
from tunnelrelay.pages.page import error_reply
from tunnelrelay.policy import cookies
from tunnelrelay.policy.bearer import judge_token
from tunnelrelay.policy.classify import wants_html
from tunnelrelay.policy.exemptions import Exempt
from tunnelrelay.policy.rules import Bearer, Connection, Policy
from tunnelrelay.policy.verdict import Allow, Challenge, Deny, SignIn, Unauthorized, judge, network_allows

NOTHING: frozenset[bytes] = frozenset()
TOKEN_FIELDS = frozenset({b"authorization"})
"""Request fields that are removed when a token lets a program in: the token is for the relay, and the app gets the
identity headers instead (attack 111 in docs/concepts/security.md)."""


class Passed(NamedTuple):
    """The decision that a request may pass. One is made for every request, so it is a cheap NamedTuple.

    Attributes:
        identity: Header lines that tell the upstream who the visitor is; b"" without a login.
        session: The login or token that let the request in; None without one.
        spent: Lower-case names of header fields that were for the relay only and are not passed on.
        exempt: The rule that exempted the request from the login (`Exempt.rule`); "" for none.
    """

    identity: bytes
    session: VisitorSession | Program | None = None
    spent: frozenset[bytes] = NOTHING
    exempt: str = ""


class StartsLogin(Protocol):
    """The part of `oidc.login.Login` that the gate uses: the start of a login."""

    async def start(
        self, host: str, connection: Connection, head: RequestHead, request_id: str, peer: Peer
    ) -> LoginEnd:
        """Start a login at the connection's provider. Returns the redirect to the provider, or an error page."""


class Gate:
    """Decides whether a request may pass to an endpoint.

    Args:
        clock: Returns Unix time.
        guesses: Counts and limits visitors' wrong passwords.
    """

    def __init__(
        self,
        *,
        address: PublicAddress,
        hosts: KnownHosts,
        sessions: Sessions,
        bearers: AccessTokens,
        login: StartsLogin,
        metrics: Metrics,
        clock: Callable[[], float],
        guesses: Guesses | None = None,
        audit: Audit = NO_AUDIT,
    ) -> None:
        self._sessions = sessions
        self._bearers = bearers
        self._login = login
        self._hosts = hosts
        self._metrics = metrics
        self._clock = clock
        self._guesses = guesses or Guesses()
        self._audit = audit
        self._cookie = cookies.SESSION if address.is_secure else cookies.SESSION_PLAIN

    def check(self, policy: Policy, head: RequestHead, host: str, peer_ip: str) -> Passed | None:
        """Decide from memory alone, without waiting. None when the request is refused or only `decide` can tell."""
        session: VisitorSession | None = None
        now = self._clock()
        if policy.basic and self._guesses.must_wait(peer_ip, host):
            return None
        is_exempt = policy.exemptions is not None and policy.exemptions.find(head) is not None
        if policy.bearer is not None and not is_exempt:
            shown = head.get_all(b"authorization")
            if shown and (len(shown) > 1 or may_be_token(shown[0])):
                return self._check_token(policy, policy.bearer, head, host, peer_ip, shown)
        connection = policy.connection
        if connection is not None:
            value = cookies.one(head.get_all(b"cookie"), self._cookie)
            found = self._sessions.find(value, host, connection, now) if value is not None else None
            if found is UNKNOWN or (found is None and not is_exempt):
                return None
            session = found
        return self._pass(policy, head, host, peer_ip, session, now)

    def may_see_pages(self, policy: Policy, peer_ip: str) -> bool:
        """Whether the endpoint's network rules let a visitor reach the relay's own pages on the endpoint's host."""
        return network_allows(policy, peer_ip)

    def seen(self, session: VisitorSession | Program) -> None:
        """Note that a visitor was active on an upgraded connection, which keeps the session alive."""
        if isinstance(session, VisitorSession):
            self._sessions.seen(session, self._clock())

    def look_after(self, session: VisitorSession | Program, policy: Policy) -> bool:
        """Whether the session or token of a running exchange is still valid. If not, the exchange must be ended.

        Args:
            policy: The endpoint's present policy.
        """
        if isinstance(session, Program):
            return not session.is_over(policy.bearer, self._clock())
        connection = policy.connection
        return connection is not None and self._sessions.look_after(session, connection, self._clock())

    async def decide(self, policy: Policy, head: RequestHead, host: str, peer: Peer, request_id: str) -> Passed | Reply:
        """Decide whether a request may pass; waits for store and provider. Returns the response when it may not."""
        is_exempt = policy.exemptions is not None and policy.exemptions.find(head) is not None
        if policy.bearer is not None and not is_exempt:
            decided = await self._decide_by_token(policy, policy.bearer, head, host, peer, request_id)
            if decided is not None:
                return decided
        session: VisitorSession | None = None
        connection = policy.connection
        value = cookies.one(head.get_all(b"cookie"), self._cookie) if connection is not None else None
        if connection is not None and value is not None:
            try:
                session = await self._sessions.current(value, host, connection, self._clock())
            except (SessionsAway, ProviderAway) as error:
                if not is_exempt:
                    code = "relay_busy" if isinstance(error, SessionsAway) else "provider_unreachable"
                    return self._error(code, head, host, request_id)
        if policy.basic and head.get(b"authorization") is not None and self._guesses.must_wait(peer.host, host):
            return self._slow_down(policy, head, host, peer, request_id)
        passed = self._pass(policy, head, host, peer.host, session, self._clock())
        return passed or await self._refuse(policy, head, host, peer, request_id, session)

    def _check_token(
        self, policy: Policy, bearer: Bearer, head: RequestHead, host: str, peer_ip: str, shown: list[bytes]
    ) -> Passed | None:
        program = self._bearers.find(bearer, host, shown[0], self._clock()) if len(shown) == 1 else None
        return self._pass_program(policy, head, host, peer_ip, program) if program is not None else None

    def _pass_program(
        self, policy: Policy, head: RequestHead, host: str, peer_ip: str, program: Program
    ) -> Passed | None:
        verdict = judge_token(policy, peer_ip=peer_ip, head=head, origin=self._hosts[host].origin)
        return Passed(program.fields, program, TOKEN_FIELDS) if verdict is Allow.NAMED else None

    async def _decide_by_token(
        self, policy: Policy, bearer: Bearer, head: RequestHead, host: str, peer: Peer, request_id: str
    ) -> Passed | Reply | None:
        """Decide by the request's access token; None when it has no token of an issuer that this endpoint accepts."""
        shown = head.get_all(b"authorization")
        if not shown or not network_allows(policy, peer.host):
            return None
        match await self._bearers.judge(bearer, host, shown, peer=peer.host, request_id=request_id):
            case None:
                return None
            case TokenRefused(code, reason, wait):
                fields = (token_challenge(host, reason),) if code == "bearer_invalid" else ()
                if wait:
                    self._metrics.limited("bearer_tokens")
                return self._error(code, head, host, request_id, fields, wait)
            case Program() as program:
                passed = self._pass_program(policy, head, host, peer.host, program)
                return passed or self._unauthorized(policy, RequestKind.UPGRADE, head, host, request_id)

    def _pass(
        self, policy: Policy, head: RequestHead, host: str, peer_ip: str, session: VisitorSession | None, now: float
    ) -> Passed | None:
        origin = self._hosts[host].origin
        verdict = judge(policy, peer_ip=peer_ip, head=head, is_signed_in=session is not None, origin=origin)
        if verdict is Allow.NAMED and session is not None:
            # Only after the verdict: requests that a sibling host's page has caused must not keep a session alive.
            self._sessions.seen(session, now)
            return Passed(session.header_block(now), session)
        if isinstance(verdict, Exempt):
            return Passed(b"", None, verdict.spent, verdict.rule)
        return Passed(b"", session) if verdict is Allow.OPEN else None

    async def _refuse(
        self, policy: Policy, head: RequestHead, host: str, peer: Peer, request_id: str, session: VisitorSession | None
    ) -> Reply:
        origin = self._hosts[host].origin
        match judge(policy, peer_ip=peer.host, head=head, is_signed_in=session is not None, origin=origin):
            case SignIn():
                assert policy.connection is not None
                ended = await self._login.start(host, policy.connection, head, request_id, peer)
                self._metrics.login(ended.outcome)
                return ended.reply
            case Challenge():
                if head.get(b"authorization") is not None:
                    self._guesses.wrong(peer.host, host)
                    self._audit.record("password.refused", host=host, peer=peer.host, request_id=request_id)
                challenge = (b"WWW-Authenticate", b'Basic realm="%b", charset="UTF-8"' % host.encode())
                return self._error("password_required", head, host, request_id, (challenge,))
            case Deny(code):
                return self._error(code, head, host, request_id)
            case Unauthorized(kind):
                return self._unauthorized(policy, kind, head, host, request_id)
            case Allow() | Exempt():
                raise AssertionError("judged twice, and not alike")

    def _slow_down(self, policy: Policy, head: RequestHead, host: str, peer: Peer, request_id: str) -> Reply:
        """Return the response to a password from an address that has sent too many wrong ones."""
        if not network_allows(policy, peer.host):
            return self._error(policy.refusal, head, host, request_id)
        self._metrics.limited("passwords")
        self._audit.record("rate.limited", reason="passwords", host=host, peer=peer.host, request_id=request_id)
        wait = self._guesses.seconds(peer.host, host)
        return self._error("too_many_requests", head, host, request_id, wait=wait)

    def _unauthorized(self, policy: Policy, kind: RequestKind, head: RequestHead, host: str, request_id: str) -> Reply:
        fields = challenges(policy, host)
        if policy.connection is None:
            return self._error("bearer_required", head, host, request_id, fields)
        return login_required(
            kind.value,
            request_id=request_id,
            host=host,
            path=head.target.decode() if head.target.startswith(b"/") else "/",
            wants_html=wants_html(head),
            fields=fields,
        )

    def _error(
        self, code: str, head: RequestHead, host: str, request_id: str, fields: tuple[Field, ...] = (), wait: int = 0
    ) -> Reply:
        html = wants_html(head)
        return error_reply(code, request_id=request_id, host=host, wants_html=html, retry_after=wait, fields=fields)
