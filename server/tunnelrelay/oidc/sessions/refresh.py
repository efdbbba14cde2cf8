"""Asks a provider again about a person who signed in before, and interprets the answer.

With a refresh token by the refresh grant (RFC 6749 section 6, Core section 12), else at the userinfo endpoint with the
access token while that is good. When, how often and by which relay is decided in `recheck.py`.

A refresh token that was sent and brought no answer (a time-out, a broken connection, a 5xx) is sent again at the next
try. The provider was in trouble then, so most likely it never exchanged the token; one that did says `invalid_grant`,
and the session ends, as it would have without the second try. A token that a relay had sent when it died is not sent
again (`refreshing_since` in `session.py`): nothing says that the provider was in trouble, so most likely it answered,
and a repetition is what it takes for theft (RFC 9700 section 4.14.2).
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
class Vouched:
    """The provider still vouches for the person.

    Attributes:
        claims: Who they are now, as rules read it; None when it said no more than that.
        grant: What to ask with the next time.
    """

    claims: dict[str, object] | None
    grant: Grant


@dataclass(frozen=True, slots=True)
class Over:
    """The provider does not vouch for the person, or its answer proves nothing: the session ends, for `reason`."""

    reason: str


_KEPT_OUT, _NOT_FOR_US = Over("invalid_token"), Over("insufficient_scope")
"""What userinfo says to an access token that is no longer good, and to one that never was for it (RFC 6750 section
3.1)."""


@dataclass(frozen=True, slots=True)
class Unasked:
    """It could not be asked. `grant` is what to ask with the next time: a token may have been changed all the same.

    Attributes:
        is_ours: It is not the provider's fault: calls of ours stood in line before this one.
    """

    detail: str
    grant: Grant
    is_ours: bool = False


@dataclass(frozen=True, slots=True)
class Mute:
    """No token is left with which the provider could be asked."""


Outcome = Vouched | Over | Unasked | Mute


class Asker:
    """Asks the provider about one login.

    Args:
        issuer: That vouched for it.
        subject: Whom it was about.
        clock: Unix time.

    Attributes:
        grant: What to ask with the next time, as far as is known: also when `ask` is cut off.
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

    async def ask(self) -> Outcome:
        """Ask the provider, and return what becomes of the session."""
        try:
            metadata = await self._providers.metadata(self._connection)
            if metadata.issuer != self._issuer:
                return Over("other_issuer")
            if self.grant.refresh_token:
                return await self._refresh(metadata)
            return await self._look(metadata)
        except (TokenInvalid, OtherSubject):
            return Over("answer_invalid")
        except ProviderError as error:
            return Unasked(error.detail, self.grant, isinstance(error, Busy))

    async def _refresh(self, metadata: Metadata) -> Outcome:
        answer = await self._providers.refresh(self._connection, self.grant.refresh_token)
        if answer.status != 200:
            error = answer.content.get("error")
            if isinstance(error, str) and error in ABOUT_THE_VISITOR:
                return Over(error)
            # It says nothing of the token, which is sent again: see the module's docstring.
            return Unasked(f"the token endpoint answered {answer.status}", self.grant)
        try:
            tokens = granted(answer.content)
        except ProviderError:
            return Over("answer_invalid")
        self.grant = with_tokens(self.grant, tokens, now=self._clock())
        claims = await self._refreshed_claims(metadata, tokens)
        if isinstance(claims, Over):
            return claims
        if tokens.id_token:
            self.grant = with_id_token(self.grant, tokens.id_token)
        return Vouched(None if claims is None else normalised(claims, self._connection), self.grant)

    async def _refreshed_claims(self, metadata: Metadata, tokens: Tokens) -> Claims | Over | None:
        """What the new tokens say; None when they say nothing about the visitor (Core section 12.2 allows that)."""
        if not tokens.id_token:
            told = await self._userinfo(tokens) if metadata.userinfo_endpoint else None
            return None if told is _KEPT_OUT or told is _NOT_FOR_US else told
        claims = await self._providers.claims(
            self._connection, tokens, nonce=self.grant.nonce, code="", is_refresh=True
        )
        if claims["sub"] != self._subject:
            return Over("other_subject")
        auth_time = claims.get("auth_time", self.grant.auth_time)
        if self.grant.auth_time is not None and auth_time != self.grant.auth_time:
            return Over("other_login")
        return claims

    async def _look(self, metadata: Metadata) -> Outcome:
        """Without a refresh token: what the login's own access token opens, for as long as it does."""
        grant = self.grant
        is_known_good = self._clock() < grant.access_until
        has_expired = grant.access_until and not is_known_good
        if not metadata.userinfo_endpoint or not grant.access_token or has_expired:
            return Mute()
        told = await self._userinfo(Tokens(id_token="", access_token=grant.access_token))
        if told is _NOT_FOR_US or (told is _KEPT_OUT and not is_known_good):
            return Mute()  # the latter at the end of a time that we were not told, as far as we know
        if isinstance(told, Over):
            return told
        return Vouched(None if told is None else normalised(told, self._connection), grant)

    async def _userinfo(self, tokens: Tokens) -> Claims | Over | None:
        """The ID token's claims with userinfo's, which are newer, over them.

        None when it is not known any more which claims came from the ID token: it was too long to be kept.
        """
        answer = await self._providers.userinfo(self._connection, tokens)
        if answer.status == 401:
            return _KEPT_OUT
        if answer.status == 403 and answer.content.get("error") == "insufficient_scope":
            return _NOT_FOR_US
        if answer.status != 200:
            raise ProviderError("unreachable", f"the userinfo endpoint answered {answer.status}")
        if answer.content.get("sub") != self._subject:
            return Over("other_subject")
        known = claims_in(self.grant.id_token)
        return laid_over(known, answer.content) if known else None


def laid_over(signed: Claims, said: Claims) -> dict[str, object]:
    """The claims of an ID token with newer ones of userinfo over them."""
    newer = {name: value for name, value in said.items() if name not in ABOUT_THE_TOKEN}
    base = dict(signed)
    if "email" in newer and newer["email"] != base.get("email"):
        # `email_verified` vouches for the address beside it, not for the one in the other document.
        base.pop("email_verified", None)
    return {**base, **newer}
