"""Authenticates agents that request `GET /_tunnel/connect`, and turns their connections into links.

An agent sends an authtoken, or the ID token of the CI job that it runs in.
"""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Protocol

from tunnelctl.bounds import DeclaredBound
from tunnelctl.eventlog import EventLog
from tunnelctl.http1.head import RequestHead
from tunnelctl.link.accept import accept, is_accepted
from tunnelctl.link.link import Link
from tunnelctl.memo import Recent
from tunnelctl.wire.errors import Code
from tunnelctl.wire.limits import Limits
from tunnelctl.wire.session import Session
from tunnelctl.wire.window import Budget
from tunnelrelay.agents.authtokens import find, has_expired
from tunnelrelay.agents.context import AgentContext
from tunnelrelay.agents.quotas import MAX_LINKS
from tunnelrelay.agents.session import MAX_STREAMS, AgentSession
from tunnelrelay.model import Peer, Token
from tunnelrelay.observe.metrics import Metrics
from tunnelrelay.policy.limits import KEY_BYTES, Buckets, RetrySchedule, address_key
from tunnelrelay.policy.trust import CONFIGURED, JobAdmitted, JobRefused, TrustRule
from tunnelrelay.store.base import StoreError, TokenStore, TrustRuleStore
from tunnelrelay.store.resources import TrustRuleRow

log = EventLog("tunnelrelay.agents")

LOCAL_OWNER = "local"
"""The owner of all agents on a relay that requires no token."""
MAX_REVOKED = 1024
"""How many ids of revoked tokens the relay remembers, newest first. They stop a handshake that read its token from the
store just before the token was revoked; far fewer are revoked while one handshake waits."""
BURST_TOKENS, TOKENS_PER_SECOND = 20, 0.2
"""How many wrong tokens a client address may send at once, and per second after that, before the relay answers 429. A
token cannot be guessed, but each wrong one costs a query to the store, and a service manager may restart an agent whose
token was revoked for ever."""
TRIES_PER_SECOND, SHORTEST_WAIT, LONGEST_WAIT = 5.0, 5, 300
"""`Retry-After` for agents refused because a limit of links is reached: about `TRIES_PER_SECOND` of an owner's agents
are told to retry in the same second, each after `SHORTEST_WAIT` to `LONGEST_WAIT` seconds. One try costs 2-3 ms for TLS
and the token's query: 744 agents that retried within 5 s took a tenth of a core; now they retry within 150 s."""
JOB_SECONDS = 6 * 3600.0
"""Seconds after which the link of a CI job's agent is ended: as long as GitHub's longest job. The agent reconnects with
a new ID token. So a leaked token is of use for no longer than this and its own lifetime."""
RELAY_GROWTH = 512 * 1024 * 1024
"""Bytes by which the flow-control windows of all links together may grow. It bounds what the relay buffers for slow
readers."""


BOUNDS = (
    DeclaredBound(
        name="tokens revoked lately",
        limit=MAX_REVOKED,
        unit="tokens",
        per="relay",
        when_full="the oldest is forgotten",
        worst_bytes=MAX_REVOKED * 150,
        holds=("Acceptor._revoked",),
    ),
    DeclaredBound(
        name="agents of links that are open",
        limit=MAX_LINKS,
        unit="agents",
        per="relay",
        when_full="503 with Retry-After",
        worst_bytes=MAX_LINKS * 12_000,
        holds=("Acceptor._sessions",),
    ),
    DeclaredBound(
        name="wrong authtokens",
        limit=BURST_TOKENS,
        unit="at once, one in 5 seconds after",
        per="address",
        when_full="429 with Retry-After",
        worst_bytes=KEY_BYTES,
        holds=("Acceptor._wrong",),
    ),
    DeclaredBound(
        name="tries of agents that find no place",
        limit=int(TRIES_PER_SECOND),
        unit="a second",
        per="owner",
        when_full="Retry-After tells each its turn",
        worst_bytes=KEY_BYTES,
        holds=("Acceptor._turned_away",),
    ),
    DeclaredBound(
        name="growth of all links' windows",
        limit=RELAY_GROWTH,
        unit="bytes",
        per="relay",
        when_full="windows grow no further",
        worst_bytes=RELAY_GROWTH,
    ),
)


class CredentialStore(TokenStore, TrustRuleStore, Protocol):
    """The parts of the store that hold authtokens and trust rules, by which agents are authenticated."""


class JudgesJobs(Protocol):
    """Decides by its ID token whether a CI job may connect as an agent."""

    async def judge(self, token: str) -> JobAdmitted | JobRefused | None:
        """Return the trust rules that admit the job of an ID token, or why it is refused.

        Returns:
            None when the text is no token of an issuer that a trust rule names.

        Raises:
            StoreError: The store cannot be read.
        """


class ConnectRequest(Protocol):
    """An agent's HTTP request for a link; the part of an exchange that `Acceptor` uses."""

    peer: Peer

    def release(self) -> asyncio.Transport:
        """Hand the connection's transport over to the caller; HTTP on the connection ends."""

    def fail(self, code: str, *, detail: str = "", closes: bool = False, retry_after: int = 0) -> None:
        """Answer the request with the error of this code."""


class Acceptor:
    """Authenticates agents' requests for a link and turns their connections into links.

    Args:
        jobs: Decides by their ID tokens whether CI jobs may connect.
        needs_tokens: Whether agents must send a token; False only on loopback with domain `localhost`.
        clock: Returns Unix time.
        max_links: Links open at once; less than `MAX_LINKS` where the process may open only few files.
    """

    def __init__(
        self,
        context: AgentContext,
        store: CredentialStore,
        jobs: JudgesJobs,
        *,
        needs_tokens: bool,
        metrics: Metrics,
        clock: Callable[[], float],
        max_links: int = MAX_LINKS,
    ) -> None:
        self._context = context
        self._store = store
        self._jobs = jobs
        self._needs_tokens = needs_tokens
        self._metrics = metrics
        self._clock = clock
        self._max_links = max_links
        self._budget = Budget(RELAY_GROWTH, None)
        self._sessions: dict[AgentSession, str] = {}
        self._revoked = Recent[str, None](MAX_REVOKED)
        self._wrong = Buckets(BURST_TOKENS, TOKENS_PER_SECOND)
        self._turned_away = RetrySchedule(TRIES_PER_SECOND, shortest=SHORTEST_WAIT, longest=LONGEST_WAIT)

    @property
    def sessions(self) -> tuple[AgentSession, ...]:
        """The sessions of the agents that are connected now, one for each open link."""
        return tuple(self._sessions)

    @property
    def link_count(self) -> int:
        """The number of agents' links that are open now."""
        return len(self._sessions)

    @property
    def stream_count(self) -> int:
        """The number of streams that are open on all agents' links together."""
        return sum(session.link.stream_count for session in self._sessions)

    async def accept(self, exchange: ConnectRequest, head: RequestHead, block: bytes, ahead: bytes) -> None:
        """Check the agent's token and do the websocket handshake, or answer with an error.

        Args:
            head: The parsed head of the request.
            block: The bytes of the head as they arrived.
            ahead: Bytes that arrived after the head.
        """
        if len(self._sessions) >= self._max_links:
            self._turn_away(exchange, "relay_links", "relay_busy", detail="the relay has as many links as it may have")
            return
        credential: Token | JobAdmitted = Token(id="", owner=LOCAL_OWNER, created_at=0.0)
        if self._needs_tokens:
            found = await self._authenticated(exchange, head)
            if found is None:
                return
            credential = found
        self._open(exchange, block, ahead, credential)

    async def revoke(self, token_id: str) -> int:
        """End every link that was opened with this token. Returns how many there were."""
        # A handshake may be waiting for the store with a token that was valid when the query began.
        self._revoked[token_id] = None
        found = [session for session in self._sessions if session.token.id == token_id]
        for session in found:
            self._metrics.agent("revoked")
            session.revoke()
        return len(found)

    async def reread(self) -> None:
        """Read the tokens and trust rules of open links again, and end links whose token or rule is gone or changed.

        After a change of the ACL the agent reconnects and binds under the new one.

        Raises:
            StoreError: The store cannot be read.
        """
        for token_id in {session.token.id for session in self._sessions if session.job is None} - {""}:
            token = await self._store.token(token_id)
            if token is None or token.revoked_at is not None:
                await self.revoke(token_id)
                continue
            for session in [each for each in self._sessions if each.token.id == token_id]:
                before, session.token = session.token, token
                if before.acl != token.acl:
                    session.link.close(Code.NO_ERROR, "what the authtoken may bind was changed")
        await self._reread_rules()
        self.expire()

    async def _reread_rules(self) -> None:
        """End the links of CI jobs whose trust rules were deleted or changed.

        Agents reconnect after that, unless all their rules were deleted, and present rules decide about them.
        """
        ids = {rule.id for session in self._sessions for rule in session.rules} - {""}
        current = {rule_id: await self._store.trust_rules.get(rule_id) for rule_id in sorted(ids)}
        for session in [each for each in self._sessions if each.job is not None]:
            rules = [rule for rule in session.rules if rule.id in current]
            gone = [rule for rule in rules if current[rule.id] is None]
            if gone and len(gone) == len(session.rules):
                self._metrics.agent("revoked")
                session.revoke("the trust rule that admitted this job was deleted")
            elif any(not _is_same(rule, current[rule.id]) for rule in rules):
                session.link.close(Code.NO_ERROR, "the trust rules that admitted this job were changed")

    def expire(self) -> None:
        """End every link whose token has expired. Agents of CI jobs reconnect with a new token."""
        now = self._clock()
        for session in [each for each in self._sessions if has_expired(each.token, now)]:
            if session.job is not None:
                session.link.close(Code.NO_ERROR, f"a CI job's link ends after {JOB_SECONDS / 3600:.0f} hours")
                continue
            self._metrics.agent("revoked")
            session.link.close(Code.UNAUTHORIZED, "the authtoken has expired")

    def go_away(self, reason: str) -> None:
        """Tell every agent to open a new link, to another relay where there is one; open streams finish on the old."""
        for session in self._sessions:
            session.link.go_away(Code.NO_ERROR, reason)

    def close(self) -> None:
        """Close every agent's link."""
        for session in list(self._sessions):
            session.link.close(Code.NO_ERROR, "the relay stops")

    def _open(self, exchange: ConnectRequest, head: bytes, ahead: bytes, credential: Token | JobAdmitted) -> None:
        job = credential if isinstance(credential, JobAdmitted) else None
        token = self._token_of(credential) if isinstance(credential, JobAdmitted) else credential
        if not self._context.quotas.open_link(token.owner, len(self._sessions)):
            self._context.audit.record("rate.limited", reason="owner_links", owner=token.owner, peer=exchange.peer.host)
            self._turn_away(exchange, "owner_links", "too_many_agents", owner=token.owner)
            return
        ws, answer = accept(head)
        if not is_accepted(ws):
            self._context.quotas.close_link(token.owner)
            exchange.fail("bad_request", closes=True)
            return
        transport = exchange.release()
        session = AgentSession(self._context, token=token, job=job, on_closed=self._left)
        limits = Limits(max_streams=MAX_STREAMS)
        link = Link(Session(opens=True, limits=limits, budget=self._budget), session)
        self._sessions[session] = token.owner
        self._metrics.agent("accepted")
        transport.write(answer)
        session.begin(link)
        link.take_over(transport, ws, ahead)
        transport.resume_reading()

    def _turn_away(
        self, exchange: ConnectRequest, limit: str, error: str, *, owner: str = "", detail: str = ""
    ) -> None:
        """Refuse an agent, as a limit of links is reached. `Retry-After` spreads the retries of refused agents."""
        self._metrics.limited(limit)
        wait = self._turned_away.next(f"{limit} {owner}", asyncio.get_running_loop().time())
        exchange.fail(error, detail=detail, closes=True, retry_after=wait)

    def _left(self, session: AgentSession) -> None:
        self._context.quotas.close_link(self._sessions.pop(session))

    def _token_of(self, job: JobAdmitted) -> Token:
        """Return a token record for the session of a CI job's agent, with owner and ACL of the job's trust rules."""
        now = self._clock()
        return Token(id=job.credential_id, owner=job.owner, created_at=now, acl=job.acl, expires_at=now + JOB_SECONDS)

    async def _authenticated(self, exchange: ConnectRequest, head: RequestHead) -> Token | JobAdmitted | None:
        """Return the token or CI job of an agent that may connect. None when it was refused; then the error is sent."""
        address, audit = address_key(exchange.peer.host), self._context.audit
        monotonic = asyncio.get_running_loop().time
        if address and self._wrong.is_empty(address, monotonic()):
            self._metrics.limited("agent_tokens")
            audit.record("rate.limited", reason="agent_tokens", peer=exchange.peer.host)
            exchange.fail("too_many_requests", closes=True)
            return None
        shown = _bearer(head)
        try:
            judged = await self._jobs.judge(shown) if shown.count(".") == 2 else None
            token = None if judged is not None else await self._token(shown)
        except StoreError:
            exchange.fail("relay_busy", closes=True)
            return None
        if isinstance(judged, JobAdmitted):
            audit.record(
                "job.admitted", owner=judged.owner, peer=exchange.peer.host, job=judged.job, rules=_ids(judged.rules)
            )
            return judged
        if judged is not None:
            self._refuse_job(exchange, judged, address)
            return None
        if token is not None and not has_expired(token, self._clock()):
            return token
        self._wrong.wait(address, monotonic())
        self._metrics.agent("refused")
        if token is not None and token.expires_at is not None:  # reveals nothing: the client has sent the whole token
            audit.record("token.refused", reason="expired", owner=token.owner, peer=exchange.peer.host)
            ended = datetime.fromtimestamp(token.expires_at, UTC)
            exchange.fail("token_expired", detail=f"on {ended:%Y-%m-%d at %H:%M} UTC", closes=True)
            return None
        given = head.get(b"authorization") is not None
        audit.record("token.refused", reason="unknown" if given else "missing", peer=exchange.peer.host)
        exchange.fail("token_refused" if given else "token_required", closes=True)
        return None

    def _refuse_job(self, exchange: ConnectRequest, refused: JobRefused, address: str) -> None:
        """Record the refusal of a CI job's agent, and answer its request with the error."""
        if refused.code != "relay_busy":
            self._wrong.wait(address, asyncio.get_running_loop().time())
            self._metrics.agent("refused")
        self._context.audit.record(
            "job.refused", reason=refused.code, peer=exchange.peer.host, job=refused.job, check=refused.reason
        )
        exchange.fail(refused.code, detail=refused.reason, closes=True)

    async def _token(self, shown: str) -> Token | None:
        """Return the token with this text, also when expired. None when it is unknown or was revoked."""
        token = await find(self._store, shown)
        if token is None or token.id in self._revoked:
            return None
        if has_expired(token, self._clock()):
            return token
        try:
            await self._store.touch_token(token.id, self._clock())
        except StoreError as error:
            log.warning("last use of a token not written", error=error)
        return None if token.id in self._revoked else token


def _bearer(head: RequestHead) -> str:
    """Return the credential of `Authorization: Bearer`; "" unless there is exactly one such header field."""
    values = head.get_all(b"authorization")
    scheme, _, value = values[0].partition(b" ") if len(values) == 1 else (b"", b"", b"")
    return value.strip().decode("latin-1") if scheme.lower() == b"bearer" else ""


def _is_same(rule: TrustRule, row: TrustRuleRow | None) -> bool:
    """Whether a stored trust rule is still as it was when it admitted a job; description and metadata may differ."""
    names = ("owner", "issuer", "audience", "claims", "acl")
    return row is not None and all(getattr(rule, name) == getattr(row, name) for name in names)


def _ids(rules: Iterable[TrustRule]) -> str:
    return " ".join(rule.id or CONFIGURED for rule in rules)
