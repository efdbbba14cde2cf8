"""Calls providers, and caches their metadata and keys for many logins.

`known_providers.py` has the cache; `token_request.py` builds requests and reads responses.
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
"""Maximum seconds to wait for a turn to call. They do not count as part of the call, so other providers cannot use up
its time."""


class ProviderClient:
    """Calls every provider in use, and caches their metadata and keys.

    Args:
        fetcher: Makes the calls; it is guarded except in tests.
        clock: Function that returns Unix time in seconds.
        monotonic: Function that returns monotonic seconds, for the age of documents: setting the clock back must not
            keep old keys.
        allow_http: Allow plain http issuers (domain `localhost` only).

    Attributes:
        known: The cached documents of each connection's provider.
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
        """Return what will prevent logins, in words for the owner; [] when nothing will. Fills the cache."""
        try:
            metadata, _ = await self._documents(connection)
        except ProviderError as error:
            reason = "it could not be reached from the relay" if error.kind == "unreachable" else error.detail
            return [f"the OpenID provider {connection.issuer} cannot be used: {reason}"]
        return [f"the OpenID provider {connection.issuer}: {warning}" for warning in metadata.warnings]

    async def metadata(self, connection: Connection) -> Metadata:
        """Return the provider's metadata. Raises ProviderError when it is neither cached nor available."""
        return await self.known.of(connection).metadata.get(lambda: self._read_metadata(connection), self._monotonic)

    async def redeem(self, connection: Connection, *, code: str, verifier: str, redirect_uri: str) -> Tokens:
        """Exchange an authorization code for tokens. Raises ProviderError."""

        async def request(metadata: Metadata) -> Answer:
            form = token_request(connection, metadata, code=code, verifier=verifier, redirect_uri=redirect_uri)
            return await self._post(connection, metadata.token_endpoint, *form)

        return read_tokens(await self._at_endpoint(connection, request))

    async def refresh(self, connection: Connection, refresh_token: str) -> Answer:
        """Send a refresh token and return the token endpoint's response. Raises ProviderError."""

        async def request(metadata: Metadata) -> Answer:
            form = refresh_request(connection, metadata, refresh_token)
            return await self._post(connection, metadata.token_endpoint, *form)

        return await self._at_endpoint(connection, request)

    async def revoke(self, connection: Connection, metadata: Metadata, refresh_token: str) -> None:
        """Revoke a refresh token. Raises ProviderError, even for the usual empty response, which means success."""
        body, headers = revocation_request(connection, metadata, refresh_token)
        await self._post(connection, metadata.revocation_endpoint, body, headers)

    async def claims(
        self, connection: Connection, tokens: Tokens, *, nonce: str, code: str, is_refresh: bool = False
    ) -> dict[str, Any]:
        """Return the claims of the visitor: those of the verified ID token, completed by userinfo where needed.

        Raises:
            TokenInvalid: The ID token is invalid.
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
        """Return the userinfo endpoint's response to an access token, with any status.

        Raises:
            TokenInvalid: The response was signed, but is invalid.
            ProviderError: There was no response.
        """

        async def request(metadata: Metadata) -> Answer:
            url, owner, issuer = metadata.userinfo_endpoint, connection.owner, connection.issuer
            return await self._call(
                connection, lambda: self._fetcher.get(url, owner=owner, issuer=issuer, bearer=tokens.access_token)
            )

        def check(metadata: Metadata, keys: KeySet) -> dict[str, Any]:
            # Nonce, code and age are not checked: see `check_userinfo`.
            return check_userinfo(
                answer.token, keys, self._expected(connection, metadata, tokens, "", "", is_refresh=True)
            )

        answer = await self._at_endpoint(connection, request)
        if not answer.token:
            return answer
        # Some clients are registered for signed responses; a signed one is always verified.
        return Answer(answer.status, await self._check(connection, check, self.known.of(connection).login_rereads))

    async def verify(self, connection: Connection, check: Callable[[Metadata, KeySet], T]) -> T:
        """Check a token from an untrusted sender with the provider's keys.

        Raises:
            TokenInvalid: Raised by `check`.
            ProviderError: Metadata or keys were not available.
        """
        return await self._check(connection, check, self._strangers(connection))

    async def aclose(self) -> None:
        """Close all connections to providers."""
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
        """Send a request to an endpoint.

        If it fails and the metadata has changed, retry once, as the endpoint may have moved.

        Without a change there is no retry, so a code is sent to a second URL only if the provider itself now names it.
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
        """Fetch the metadata again, unless another caller has done so, or an early fetch a moment ago brought no
        change.
        """
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

        A provider that was restarted may have new keys (even with the old `kid`), other algorithms, or another URL for
        its keys.
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
            # For an untrusted token only the necessary documents are fetched again, to limit the calls that it can
            # cause.
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
        """Fetch metadata and keys again, unless another caller has done so, or an early fetch a moment ago brought no
        change.
        """
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
        """Fetch the keys; if the URL fails, fetch the metadata again and use the URL that it now contains."""
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
                    # The narrowest limit comes first, so that waiting for it blocks no other owner.
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
    """Return whether an endpoint's response suggests that the endpoint has moved.

    False for a success, and for an error about the code, the token or the visitor. For the userinfo endpoint only the
    status counts.
    """
    if answer.status == 200:
        return False
    error = answer.content.get("error")
    return error not in ABOUT_THE_VISITOR and (error is not None or answer.status not in (401, 403))
