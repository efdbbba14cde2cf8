"""Asks a provider whether a signed-in visitor may stay signed in, and interprets the response.

Uses the refresh grant (RFC 6749 section 6, Core section 12), or without a refresh token the userinfo endpoint while the
access token is valid. `recheck.py` decides when, and on which relay.

A refresh token that was sent without getting a response (a time-out, a broken connection, a 5xx) is sent again at the
next try. The provider had a problem, so it probably did not exchange the token; if it did, it responds with
`invalid_grant`, and the session ends, as it would without the second try. A token that a relay had sent when it died is
not sent again (`refreshing_since` in `session.py`): the provider probably responded normally, and takes a repetition
for theft (RFC 9700 section 4.14.2).
"""

from collections.abc import Callable
from dataclasses import dataclass

from tunnelctl.oidc.errors import ProviderError
from tunnelctl.oidc.metadata import Metadata
from tunnelrelay.oidc.providers.known_providers import Busy
from tunnelrelay.oidc.providers.provider import ProviderClient
from tunnelrelay.oidc.providers.token_request import ABOUT_THE_TOKEN, ABOUT_THE_VISITOR, OtherSubject, Tokens, granted
from tunnelrelay.oidc.sessions.session import Grant, claims_in, with_id_token, with_tokens
from tunnelrelay.oidc.tokens.claims import normalised
from tunnelrelay.oidc.tokens.id_token import TokenInvalid
from tunnelrelay.policy.rules import Claims, Connection


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The provider confirmed that the visitor may stay signed in.

    Attributes:
        claims: The current claims, normalised for rules; None when the response has none.
        grant: The tokens for the next re-check.
    """

    claims: dict[str, object] | None
    grant: Grant


@dataclass(frozen=True, slots=True)
class Rejected:
    """The provider rejected the visitor, or its response proves nothing: the session ends with `reason`."""

    reason: str


_KEPT_OUT, _NOT_FOR_US = Rejected("invalid_token"), Rejected("insufficient_scope")
"""The userinfo endpoint's errors for an access token that is no longer valid, and for one without the right scope (RFC
6750 section 3.1)."""


@dataclass(frozen=True, slots=True)
class NotAsked:
    """The provider could not be reached.

    `grant` has the tokens for the next re-check, which may have changed nevertheless.

    Attributes:
        is_ours: The relay's own limits prevented the call, not the provider.
    """

    detail: str
    grant: Grant
    is_ours: bool = False


@dataclass(frozen=True, slots=True)
class NoToken:
    """The session has no valid token left with which the provider could be asked."""


Outcome = Confirmed | Rejected | NotAsked | NoToken


class ProviderQuery:
    """Asks the provider about one login.

    Args:
        issuer: The issuer of the login.
        subject: The person's `sub`.
        clock: Function that returns Unix time.

    Attributes:
        grant: The tokens for the next re-check; up to date even when `run` is cancelled.
    """

    def __init__(
        self,
        providers: ProviderClient,
        connection: Connection,
        *,
        grant: Grant,
        issuer: str,
        subject: str,
        clock: Callable[[], float],
    ) -> None:
        self._providers = providers
        self._connection = connection
        self.grant = grant
        self._issuer = issuer
        self._subject = subject
        self._clock = clock

    async def run(self) -> Outcome:
        """Ask the provider, and return the outcome for the session."""
        try:
            metadata = await self._providers.metadata(self._connection)
            if metadata.issuer != self._issuer:
                return Rejected("other_issuer")
            if self.grant.refresh_token:
                return await self._refresh(metadata)
            return await self._look(metadata)
        except (TokenInvalid, OtherSubject):
            return Rejected("answer_invalid")
        except ProviderError as error:
            return NotAsked(error.detail, self.grant, isinstance(error, Busy))

    async def _refresh(self, metadata: Metadata) -> Outcome:
        answer = await self._providers.refresh(self._connection, self.grant.refresh_token)
        if answer.status != 200:
            error = answer.content.get("error")
            if isinstance(error, str) and error in ABOUT_THE_VISITOR:
                return Rejected(error)
            # This failure says nothing about the token, which is sent again: see the module's docstring.
            return NotAsked(f"the token endpoint answered {answer.status}", self.grant)
        try:
            tokens = granted(answer.content)
        except ProviderError:
            return Rejected("answer_invalid")
        self.grant = with_tokens(self.grant, tokens, now=self._clock())
        claims = await self._refreshed_claims(metadata, tokens)
        if isinstance(claims, Rejected):
            return claims
        if tokens.id_token:
            self.grant = with_id_token(self.grant, tokens.id_token)
        return Confirmed(None if claims is None else normalised(claims, self._connection), self.grant)

    async def _refreshed_claims(self, metadata: Metadata, tokens: Tokens) -> Claims | Rejected | None:
        """Return the claims in the new tokens; None when they contain none about the visitor (Core section 12.2 allows
        that).
        """
        if not tokens.id_token:
            claims = await self._userinfo(tokens) if metadata.userinfo_endpoint else None
            return None if claims is _KEPT_OUT or claims is _NOT_FOR_US else claims
        claims = await self._providers.claims(
            self._connection, tokens, nonce=self.grant.nonce, code="", is_refresh=True
        )
        if claims["sub"] != self._subject:
            return Rejected("other_subject")
        auth_time = claims.get("auth_time", self.grant.auth_time)
        if self.grant.auth_time is not None and auth_time != self.grant.auth_time:
            return Rejected("other_login")
        return claims

    async def _look(self, metadata: Metadata) -> Outcome:
        """Call the userinfo endpoint with the login's own access token, while it is valid."""
        grant = self.grant
        is_known_good = self._clock() < grant.access_until
        has_expired = grant.access_until and not is_known_good
        if not metadata.userinfo_endpoint or not grant.access_token or has_expired:
            return NoToken()
        claims = await self._userinfo(Tokens(id_token="", access_token=grant.access_token))
        if claims is _NOT_FOR_US or (claims is _KEPT_OUT and not is_known_good):
            return NoToken()  # with `_KEPT_OUT` the token has probably expired, at an unknown time
        if isinstance(claims, Rejected):
            return claims
        return Confirmed(None if claims is None else normalised(claims, self._connection), grant)

    async def _userinfo(self, tokens: Tokens) -> Claims | Rejected | None:
        """Return the ID token's claims, updated by the newer ones of userinfo.

        None when the ID token was too long to be kept, so that its claims are unknown.
        """
        answer = await self._providers.userinfo(self._connection, tokens)
        if answer.status == 401:
            return _KEPT_OUT
        if answer.status == 403 and answer.content.get("error") == "insufficient_scope":
            return _NOT_FOR_US
        if answer.status != 200:
            raise ProviderError("unreachable", f"the userinfo endpoint answered {answer.status}")
        if answer.content.get("sub") != self._subject:
            return Rejected("other_subject")
        signed = claims_in(self.grant.id_token)
        return merge_claims(signed, answer.content) if signed else None


def merge_claims(signed: Claims, userinfo: Claims) -> dict[str, object]:
    """Return the claims of an ID token, updated by newer ones of userinfo."""
    newer = {name: value for name, value in userinfo.items() if name not in ABOUT_THE_TOKEN}
    base = dict(signed)
    if "email" in newer and newer["email"] != base.get("email"):
        # `email_verified` is about the address in the same document, not about one in the other document.
        base.pop("email_verified", None)
    return {**base, **newer}
