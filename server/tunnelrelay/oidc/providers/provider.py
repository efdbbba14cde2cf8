"""Calls providers, and caches their metadata and keys for many logins.

The cache is in `known_providers.py`; requests are written and answers read in `token_request.py`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, NamedTuple, TypeVar

from tunnelctl.eventlog import EventLog
from tunnelctl.oidc.errors import ProviderError
from tunnelctl.oidc.keys import KeySet, read_keys
from tunnelctl.oidc.metadata import Metadata, discovery_url, read_issuer, read_metadata
from tunnelrelay.oidc.providers.fetch import Answer, Fetcher
from tunnelrelay.oidc.providers.known_providers import Busy, CachedProvider, KnownProviders, Rereads
from tunnelrelay.oidc.providers.ssrf_guard import MAX_CONNECTIONS
from tunnelrelay.oidc.providers.token_request import (
    ABOUT_THE_VISITOR,
    Tokens,
    merge_userinfo,
    needs_userinfo,
    read_tokens,
    refresh_request,
    revocation_request,
    token_request,
)
from tunnelrelay.oidc.tokens.id_token import AlgorithmUnknown, Expected, ProviderChanged, check_id_token, check_userinfo
from tunnelrelay.policy.rules import Connection

log = EventLog(__name__)
T = TypeVar("T")

QUEUE_SECONDS = 8.0
"""Longest wait for one's turn to call. It is no part of the call's own time: no provider of others uses that up."""


class ProviderClient:
    """Calls every provider in use, and caches their metadata and keys.

    Args:
        fetcher: Makes the calls; guarded outside tests.
        clock: Unix time, seconds.
        monotonic: Seconds; for the age of documents, so that a clock that is set back does not keep old keys.
        allow_http: Allow plain http issuers (domain `localhost` only).

    Attributes:
        known: What is known of each connection's provider.
    """

    def __init__(
        self,
        *,
        fetcher: Fetcher,
        clock: Callable[[], float],
        monotonic: Callable[[], float] | None = None,
        allow_http: bool = False,
    ) -> None:
        self._fetcher = fetcher
        self._clock = clock
        self._monotonic = monotonic or clock
        self._allow_http = allow_http
        self.known = KnownProviders()
        self._calls = asyncio.Semaphore(MAX_CONNECTIONS)

    async def check(self, connection: Connection) -> list[str]:
        """Find what will keep people from logging in, in words for the owner; [] when nothing does. Fills the cache."""
        try:
            metadata, _ = await self._documents(connection)
        except ProviderError as error:
            reason = "it could not be reached from the relay" if error.kind == "unreachable" else error.detail
            return [f"the OpenID provider {connection.issuer} cannot be used: {reason}"]
        return [f"the OpenID provider {connection.issuer}: {warning}" for warning in metadata.warnings]

    async def metadata(self, connection: Connection) -> Metadata:
        """The provider's metadata. Raises ProviderError when it is neither cached nor available."""
        return await self.known.of(connection).metadata.get(lambda: self._read_metadata(connection), self._monotonic)

    async def redeem(self, connection: Connection, *, code: str, verifier: str, redirect_uri: str) -> Tokens:
        """Exchange a code for tokens. Raises ProviderError."""

        async def request(metadata: Metadata) -> Answer:
            form = token_request(connection, metadata, code=code, verifier=verifier, redirect_uri=redirect_uri)
            return await self._post(connection, metadata.token_endpoint, *form)

        return read_tokens(await self._at_endpoint(connection, request))

    async def refresh(self, connection: Connection, refresh_token: str) -> Answer:
        """Send a refresh token and return the token endpoint's answer. Raises ProviderError."""

        async def request(metadata: Metadata) -> Answer:
            form = refresh_request(connection, metadata, refresh_token)
            return await self._post(connection, metadata.token_endpoint, *form)

        return await self._at_endpoint(connection, request)

    async def revoke(self, connection: Connection, metadata: Metadata, refresh_token: str) -> None:
        """Revoke a refresh token. Raises ProviderError, also for the usual empty answer, which means success."""
        body, headers = revocation_request(connection, metadata, refresh_token)
        await self._post(connection, metadata.revocation_endpoint, body, headers)

    async def claims(
        self, connection: Connection, tokens: Tokens, *, nonce: str, code: str, is_refresh: bool = False
    ) -> dict[str, Any]:
        """The claims of the person who logged in: of the checked ID token, completed from userinfo where needed.

        Raises:
            TokenInvalid: The ID token did not pass.
            ProviderError: Keys or userinfo were not available.
        """

        def check(metadata: Metadata, keys: KeySet) -> dict[str, Any]:
            expected = self._expected(connection, metadata, tokens, nonce, code, is_refresh)
            return check_id_token(tokens.id_token, keys, expected)

        claims = await self._check(connection, check, self.known.of(connection).login_rereads)
        metadata = await self.metadata(connection)
        if not metadata.userinfo_endpoint or not needs_userinfo(claims, connection):
            return claims
        return merge_userinfo(claims, await self.userinfo(connection, tokens))

    async def userinfo(self, connection: Connection, tokens: Tokens) -> Answer:
        """The userinfo endpoint's answer to an access token, whatever the status.

        Raises:
            TokenInvalid: It was signed, and did not pass the checks.
            ProviderError: There was no answer.
        """

        async def request(metadata: Metadata) -> Answer:
            url, owner, issuer = metadata.userinfo_endpoint, connection.owner, connection.issuer
            return await self._call(
                connection, lambda: self._fetcher.get(url, owner=owner, issuer=issuer, bearer=tokens.access_token)
            )

        def check(metadata: Metadata, keys: KeySet) -> dict[str, Any]:
            # It needs no nonce or code, and no recent time: see `check_userinfo`.
            return check_userinfo(
                answer.token, keys, self._expected(connection, metadata, tokens, "", "", is_refresh=True)
            )

        answer = await self._at_endpoint(connection, request)
        if not answer.token:
            return answer
        # Some clients are registered for signed answers; a signed one is always checked.
        return Answer(answer.status, await self._check(connection, check, self.known.of(connection).login_rereads))

    async def verify(self, connection: Connection, check: Callable[[Metadata, KeySet], T]) -> T:
        """Check a token that came from an untrusted sender, with the provider's keys.

        Raises:
            TokenInvalid: From `check`.
            ProviderError: Metadata or keys were not available.
        """
        return await self._check(connection, check, self._strangers(connection))

    async def aclose(self) -> None:
        """Closes every connection to providers."""
        await self._fetcher.aclose()

    def _strangers(self, connection: Connection) -> Rereads:
        return self.known.of(connection).stranger_rereads

    def _expected(
        self, connection: Connection, metadata: Metadata, tokens: Tokens, nonce: str, code: str, is_refresh: bool
    ) -> Expected:
        return Expected(
            issuer=metadata.issuer,
            client_id=connection.client_id,
            nonce=nonce,
            algorithms=metadata.algorithms,
            access_token=tokens.access_token,
            code=code,
            now=self._clock(),
            max_age=connection.max_age,
            required_acr=connection.required_acr,
            is_refresh=is_refresh,
        )

    async def _at_endpoint(self, connection: Connection, request: Callable[[Metadata], Awaitable[Answer]]) -> Answer:
        """Send a request to an endpoint. If it fails, read the metadata again, as the endpoint may have moved, and
        retry once.

        The retry is sent only if the metadata has changed. So a code goes to a second address only if the provider
        itself now names it.
        """
        metadata = await self.metadata(connection)
        try:
            answer = await request(metadata)
            if not _may_have_moved(answer):
                return answer
        except Busy:
            raise
        except ProviderError:
            newer = await self._newer_metadata(connection, metadata)
            if newer == metadata:
                raise
            return await request(newer)
        newer = await self._newer_metadata(connection, metadata)
        return answer if newer == metadata else await request(newer)

    async def _newer_metadata(self, connection: Connection, seen: Metadata) -> Metadata:
        """Read the metadata again, unless another caller has since, or a re-read a moment ago did not help."""
        known = self.known.of(connection)
        rereads = known.endpoint_rereads
        async with rereads.turn:
            if known.metadata.value is seen and rereads.begin(self._monotonic()):
                has_read = await known.metadata.read_again(lambda: self._read_metadata(connection), self._monotonic)
                if not has_read or known.metadata.value != seen:
                    rereads.forgive()
        return known.metadata.value or seen

    async def _check(self, connection: Connection, check: Callable[[Metadata, KeySet], T], rereads: Rereads) -> T:
        """Check a token with the cached documents; if they may be outdated, fetch them again and retry.

        A provider that was restarted has other keys, perhaps under the old names (`kid`), other algorithms, or its keys
        at another address.
        """
        seen = await self._documents(connection)
        try:
            return check(*seen)
        except ProviderChanged as error:
            log.info(
                "token does not match the provider's cached documents, reading them again",
                connection=connection.id,
                reason=error,
            )
            # An untrusted token causes no wider re-fetch than needed, to limit the calls that it can cause.
            is_about_all = isinstance(error, AlgorithmUnknown) or rereads is not self._strangers(connection)
            newer = await self._newer_documents(connection, seen, rereads, with_metadata=is_about_all)
            if newer == seen:
                raise
        checked = check(*newer)
        rereads.forgive()
        return checked

    async def _documents(self, connection: Connection) -> "_Documents":
        metadata = await self.metadata(connection)
        document = self.known.of(connection).keys
        keys = await document.get(lambda: self._find_keys(connection, metadata), self._monotonic)
        return _Documents(await self.metadata(connection), keys)

    async def _newer_documents(
        self, connection: Connection, seen: "_Documents", rereads: Rereads, *, with_metadata: bool
    ) -> "_Documents":
        """Read metadata and keys again, unless another caller has since, or a re-read a moment ago did not help."""
        known = self.known.of(connection)
        async with rereads.turn:
            if _current(known, seen) == seen and rereads.begin(self._monotonic()):
                has_read = True
                if with_metadata:
                    has_read = await known.metadata.read_again(lambda: self._read_metadata(connection), self._monotonic)
                metadata = known.metadata.value or seen.metadata
                has_read &= await known.keys.read_again(lambda: self._find_keys(connection, metadata), self._monotonic)
                if not has_read:
                    rereads.forgive()
        return _current(known, seen)

    async def _read_metadata(self, connection: Connection) -> Metadata:
        url = discovery_url(connection.issuer)
        answer = await self._call(
            connection, lambda: self._fetcher.get(url, owner=connection.owner, issuer=connection.issuer)
        )
        if answer.status != 200:
            raise ProviderError("invalid", f"its discovery document is not there (status {answer.status})")
        if not connection.client_id:
            return read_issuer(answer.content, configured=connection.issuer, allow_http=self._allow_http)
        return read_metadata(
            answer.content,
            configured=connection.issuer,
            has_secret=bool(connection.client_secret),
            allow_http=self._allow_http,
        )

    async def _find_keys(self, connection: Connection, metadata: Metadata) -> KeySet:
        """The keys, at their new address where the old one fails and the provider now names another."""
        try:
            return await self._read_keys(connection, metadata)
        except Busy:
            raise
        except ProviderError:
            newer = await self._newer_metadata(connection, metadata)
            if newer.jwks_uri == metadata.jwks_uri:
                raise
            return await self._read_keys(connection, newer)

    async def _read_keys(self, connection: Connection, metadata: Metadata) -> KeySet:
        answer = await self._call(
            connection, lambda: self._fetcher.get(metadata.jwks_uri, owner=connection.owner, issuer=connection.issuer)
        )
        if answer.status != 200:
            raise ProviderError("invalid", f"its keys are not there (status {answer.status})")
        return read_keys(answer.content)

    async def _post(self, connection: Connection, url: str, form: bytes, headers: dict[str, str]) -> Answer:
        return await self._call(
            connection,
            lambda: self._fetcher.post_form(url, form, headers, owner=connection.owner, issuer=connection.issuer),
        )

    async def _call(self, connection: Connection, call: Callable[[], Awaitable[Answer]]) -> Answer:
        known = self.known.of(connection)
        async with AsyncExitStack() as turns:
            try:
                async with asyncio.timeout(QUEUE_SECONDS):
                    # The narrowest limit first, so that waiting for it blocks no other owner.
                    for turn in (known.calls, known.owners_calls, self._calls):
                        await turns.enter_async_context(turn)
            except TimeoutError as error:
                raise Busy from error
            return await call()


class _Documents(NamedTuple):
    """The documents that a token is checked with. Compared by identity: documents fetched again are different."""

    metadata: Metadata
    keys: KeySet


def _current(known: CachedProvider, seen: _Documents) -> _Documents:
    return _Documents(known.metadata.value or seen.metadata, known.keys.value or seen.keys)


def _may_have_moved(answer: Answer) -> bool:
    """Whether an endpoint's answer hints that the endpoint has moved.

    Not after a success, nor an error about the code, the token or the visitor. Of the userinfo endpoint's answers only
    the status counts.
    """
    if answer.status == 200:
        return False
    error = answer.content.get("error")
    return error not in ABOUT_THE_VISITOR and (error is not None or answer.status not in (401, 403))
