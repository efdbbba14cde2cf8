"""Verifies the access tokens of programs; a valid one is cached for a minute.

Read `AccessTokens.find` first: it runs for every request with a token and costs one hash and one look-up. For tokens
that are not cached, `judge` checks whether the token is from an accepted issuer, whether it is valid
(`oidc/tokens/access_token.py`) and whether the owner's rules admit its holder (`policy/bearer.py`). Refused tokens are
not cached.
"""

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tunnelctl.bounds import DeclaredBound
from tunnelctl.eventlog import EventLog
from tunnelctl.memo import Recent
from tunnelctl.oidc.errors import ProviderError
from tunnelrelay.address import PublicAddress
from tunnelrelay.keys.assertion import ASSERTION_SECONDS, AssertionSigner
from tunnelrelay.keys.keyring import sha256
from tunnelrelay.model import Identity
from tunnelrelay.observe.audit import NO_AUDIT, Audit
from tunnelrelay.oidc.providers.provider import ProviderClient
from tunnelrelay.oidc.tokens.access_token import check_bearer_token, claimed_issuer, token_in
from tunnelrelay.oidc.tokens.claims import normalised
from tunnelrelay.oidc.tokens.id_token import LEEWAY, TokenInvalid
from tunnelrelay.oidc.tokens.identity import identity_fields, identity_of, weight_of
from tunnelrelay.policy.bearer import admits
from tunnelrelay.policy.limits import KEY_BYTES, Buckets, address_key
from tunnelrelay.policy.rules import Bearer, TokenIssuer

log = EventLog(__name__)

CHECKED_SECONDS = ASSERTION_SECONDS / 2
"""Seconds for which a valid token is accepted without another check. A key revoked at the issuer takes effect here
after at most this time and the refresh of the keys; an assertion signed until then is valid for the same time again."""
BURST_REFUSED, REFUSED_PER_SECOND = 60, 2.0
"""Invalid tokens allowed from one address at one endpoint, at once and per second, before it must wait. Each costs up
to about 7 ms, so this is about 1 % of a core. Counted per endpoint, so that pages of its owner cannot use up what their
visitors may do elsewhere."""
RUN_SUBJECT = "run"
"""Subject of the identity that the app gets for the token of the agent's own run; its issuer is the relay."""
NEVER = float("inf")
MAX_TOKENS = 64
"""Maximum cached tokens of one endpoint. A hostile owner, who can sign any number, pushes out only the owner's own."""
MAX_TOKEN_BYTES = 128 * 1024
"""Maximum bytes of the cached tokens of one endpoint, by `Program.weight`. An owner's own issuer can put 16 KiB into a
token, which takes 25 kB here; 64 usual tokens take 100 kB."""
MAX_HOSTS = 512
"""Maximum endpoints with cached tokens, which together take at most 64 MiB."""


BOUNDS = (
    DeclaredBound(
        name="good tokens remembered at one endpoint",
        limit=MAX_TOKENS,
        unit="tokens",
        per="endpoint",
        when_full="the oldest is judged anew",
        worst_bytes=MAX_TOKEN_BYTES,
    ),
    DeclaredBound(
        name="endpoints with remembered tokens",
        limit=MAX_HOSTS,
        unit="endpoints",
        per="relay",
        when_full="the endpoint used the longest ago is forgotten",
        worst_bytes=MAX_HOSTS * MAX_TOKEN_BYTES,
        holds=("AccessTokens._known",),
    ),
    DeclaredBound(
        name="bad tokens from one address at one endpoint",
        limit=BURST_REFUSED,
        unit="at once, 2 a second after",
        per="address",
        when_full="429 with Retry-After",
        worst_bytes=KEY_BYTES,
        holds=("AccessTokens._bad",),
    ),
)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Program:
    """The holder of a valid token at one endpoint; the counterpart of a person's `VisitorSession`.

    Attributes:
        id_digest: SHA-256 of the token, which identifies it in logs and events.
        version: Version of the rules that admitted the token (`Bearer.version`).
        expires_at: Unix time at which connections opened with the token end.
        checked_until: Monotonic time until which the token is accepted without another check. Not Unix time, which may
            be set back.
        fields: The identity as header lines, each ended by CRLF, including the assertion.
    """

    id_digest: bytes
    identity: Identity
    version: str
    expires_at: float
    checked_until: float
    fields: bytes = field(repr=False)

    @property
    def weight(self) -> int:
        """Bytes of memory that the object takes."""
        return 1_000 + weight_of(self.identity)

    def is_over(self, bearer: Bearer | None, now: float) -> bool:
        """Return whether connections opened with the token must end: it expired, or the owner changed the rules for
        tokens.
        """
        return now >= self.expires_at or bearer is None or bearer.version != self.version


@dataclass(frozen=True, slots=True)
class TokenRefused:
    """The refusal of a token from an accepted issuer.

    Attributes:
        code: Error code of the response.
        reason: The check that failed, for the sender; contains no part of the token.
        wait: Seconds until a retry can help; 0 when waiting does not help.
    """

    code: str
    reason: str
    wait: int = 0


class AccessTokens:
    """The cache of valid tokens of a relay, and the check of new ones.

    Args:
        clock: Function that returns Unix time.
        monotonic: Function that returns monotonic seconds.
    """

    def __init__(
        self,
        *,
        address: PublicAddress,
        providers: ProviderClient,
        signer: AssertionSigner,
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
        audit: Audit = NO_AUDIT,
    ) -> None:
        self._address = address
        self._providers = providers
        self._signer = signer
        self._clock = clock
        self._monotonic = monotonic
        self._audit = audit
        self._known = Recent[str, dict[bytes, Program]](MAX_HOSTS)
        self._bad = Buckets(BURST_REFUSED, REFUSED_PER_SECOND)

    def find(self, bearer: Bearer, host: str, authorization: bytes, now: float) -> Program | None:
        """Return the holder of a cached token; None when the token must be checked with `judge`."""
        known = self._known.get(host)
        program = known.get(sha256(authorization)) if known is not None else None
        if program is None or now >= program.expires_at or program.version != bearer.version:
            return None
        return program if self._monotonic() < program.checked_until else None

    async def judge(
        self, bearer: Bearer, host: str, authorization: list[bytes], *, peer: str, request_id: str
    ) -> Program | TokenRefused | None:
        """Check a token and return its holder.

        Args:
            authorization: The values of all `Authorization` fields, at least one.
            peer, request_id: For the audit event.

        Returns:
            None when the request has no token from an accepted issuer; the token is then left to the app.
        """
        if len(authorization) > 1:
            # The app might read the other one.
            return self._refused("bearer_invalid", "`Authorization` was sent more than once", host, peer, request_id)
        token = token_in(authorization[0])
        if bearer.run_token_sha256 and hmac.compare_digest(sha256(token.encode("latin-1")), bearer.run_token_sha256):
            identity = Identity(issuer=self._address.url(self._address.domain), subject=RUN_SUBJECT)
            return self._remember(host, authorization[0], identity, bearer, NEVER)
        issuer = _issuer_named(bearer, claimed_issuer(token))
        if issuer is None:
            return None
        found = self.find(bearer, host, authorization[0], self._clock())
        if found is not None:
            return found
        sender = _sender(peer, host)
        if sender and self._bad.is_empty(sender, self._monotonic()):
            return self._slow_down(sender, host, peer, request_id)
        try:
            claims = await self._providers.verify(
                issuer.connection,
                lambda metadata, keys: check_bearer_token(token, metadata, keys, issuer, now=self._clock()),
            )
        except TokenInvalid as error:
            return self._refused("bearer_invalid", str(error), host, peer, request_id, issuer)
        except ProviderError as error:
            log.warning("access token not checked", host=host, issuer=issuer.connection.issuer, error=error.detail)
            return TokenRefused("provider_unreachable" if error.kind == "unreachable" else "provider_error", "")
        read = normalised(claims, issuer.connection)
        admitted = admits(issuer, read)
        if not admitted:
            return self._refused("bearer_not_admitted", admitted.reason, host, peer, request_id, issuer)
        identity = identity_of(read, issuer=claims["iss"])
        return self._remember(host, authorization[0], identity, bearer, _ends_at(claims, issuer))

    def _remember(self, host: str, shown: bytes, identity: Identity, bearer: Bearer, expires_at: float) -> Program:
        now = self._clock()
        assertion = self._signer.sign(identity, audience=self._address.url(host), now=now)
        program = Program(
            id_digest=sha256(shown),
            identity=identity,
            version=bearer.version,
            expires_at=expires_at,
            checked_until=self._monotonic() + CHECKED_SECONDS,
            fields=identity_fields(identity) + f"X-Tunnel-Assertion: {assertion}\r\n".encode("ascii"),
        )
        known = self._known.get(host)
        if known is None:
            known = self._known[host] = {}
        known.pop(program.id_digest, None)
        room = MAX_TOKEN_BYTES - program.weight
        while len(known) >= MAX_TOKENS or sum(each.weight for each in known.values()) > room:
            del known[next(iter(known))]
        known[program.id_digest] = program
        return program

    def _refused(
        self, code: str, reason: str, host: str, peer: str, request_id: str, issuer: TokenIssuer | None = None
    ) -> TokenRefused:
        connection = issuer.connection if issuer is not None else None
        if issuer is not None and (sender := _sender(peer, host)):
            self._bad.wait(sender, self._monotonic())
        self._audit.record(
            "bearer.refused",
            reason=code,
            host=host,
            connection=connection.id if connection is not None else "",
            issuer=connection.issuer if connection is not None else "",
            peer=peer,
            request_id=request_id,
            check=reason,
        )
        return TokenRefused(code, reason)

    def _slow_down(self, sender: str, host: str, peer: str, request_id: str) -> TokenRefused:
        self._audit.record("rate.limited", reason="bearer_tokens", host=host, peer=peer, request_id=request_id)
        return TokenRefused("too_many_requests", "", self._bad.wait(sender, self._monotonic()))


def _sender(peer: str, host: str) -> str:
    """Return the key under which invalid tokens of an address at a host are counted; "" when it is not limited."""
    address = address_key(peer)
    return f"{address} {host}" if address else ""


def _ends_at(claims: dict[str, Any], issuer: TokenIssuer) -> float:
    """Return the Unix time until which the token is accepted: its own expiry, or `max_age` after its sign-in."""
    ends_at, max_age = float(claims["exp"]), issuer.connection.max_age
    return LEEWAY + (ends_at if max_age is None else min(ends_at, claims["auth_time"] + max_age))


def _issuer_named(bearer: Bearer, claimed: str) -> TokenIssuer | None:
    """Return the accepted issuer that a token names.

    Trailing slashes are ignored here and compared later, so that a token with a slash more or less is refused instead
    of being passed on to the app.
    """
    name = claimed.rstrip("/")
    return next((issuer for issuer in bearer.issuers if name and issuer.connection.issuer.rstrip("/") == name), None)
