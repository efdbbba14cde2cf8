"""Providers as the relay knows them: metadata and keys, fetched once for many logins and kept for a while.

What is known is kept in `known_providers.py`; what is sent and how answers are read is in `redeem.py`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from tunnelctl.oidc.errors import ProviderError
from tunnelctl.oidc.keys import KeySet, read_keys
from tunnelctl.oidc.metadata import Metadata, discovery_url, read_issuer, read_metadata
from tunnelrelay.oidc.fetch import Answer, Fetcher
from tunnelrelay.oidc.guard import MAX_CONNECTIONS
from tunnelrelay.oidc.known_providers import Busy, KnownProviders
from tunnelrelay.oidc.redeem import (
    Tokens,
    merge_userinfo,
    needs_userinfo,
    read_tokens,
    refresh_request,
    revocation_request,
    token_request,
)
from tunnelrelay.oidc.tokens import Expected, KeyUnknown, check_id_token, check_userinfo
from tunnelrelay.policy.rules import Connection

log = logging.getLogger(__name__)
T = TypeVar("T")

QUEUE_SECONDS = 8.0
"""Longest wait for one's turn to call. It is no part of the call's own time: no provider of others uses that up."""


class Providers:
    """Every provider in use.

    Args:
        fetcher: Makes the calls; guarded outside tests.
        clock: Unix time, seconds.
        monotonic: Seconds; tells the age of documents, so that a clock that is set back does not keep old keys.
        allow_http: Plain http issuers are fine (domain `localhost` only).
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
        self._known = KnownProviders()
        self._calls = asyncio.Semaphore(MAX_CONNECTIONS)

    async def check(self, connection: Connection) -> list[str]:
        """What will keep people from logging in, in words for the owner; empty when all is well. Warms the cache."""
        try:
            metadata = await self.metadata(connection)
            await self._keys(connection, metadata)
        except ProviderError as error:
            reason = error.detail if error.kind == "invalid" else "it could not be reached from the relay"
            return [f"the OpenID provider {connection.issuer} cannot be used: {reason}"]
        return [f"the OpenID provider {connection.issuer}: {warning}" for warning in metadata.warnings]

    async def metadata(self, connection: Connection) -> Metadata:
        """The provider's metadata. Raises ProviderError when there is none to go by."""

        async def read() -> Metadata:
            url = discovery_url(connection.issuer)
            answer = await self._call(connection, lambda: self._fetcher.get(url, owner=connection.owner))
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

        return await self._known.of(connection).metadata.get(read, self._monotonic)

    async def redeem(
        self, connection: Connection, metadata: Metadata, *, code: str, verifier: str, redirect_uri: str
    ) -> Tokens:
        """The tokens for a code. Raises ProviderError."""
        body, headers = token_request(connection, metadata, code=code, verifier=verifier, redirect_uri=redirect_uri)
        return read_tokens(await self._post(connection, metadata.token_endpoint, body, headers))

    async def refresh(self, connection: Connection, metadata: Metadata, refresh_token: str) -> Answer:
        """What the token endpoint says to a refresh token. Raises ProviderError."""
        body, headers = refresh_request(connection, metadata, refresh_token)
        return await self._post(connection, metadata.token_endpoint, body, headers)

    async def revoke(self, connection: Connection, metadata: Metadata, refresh_token: str) -> None:
        """Gives a refresh token back. Raises ProviderError: most often for an empty answer, which means that it did."""
        body, headers = revocation_request(connection, metadata, refresh_token)
        await self._post(connection, metadata.revocation_endpoint, body, headers)

    async def claims(
        self,
        connection: Connection,
        metadata: Metadata,
        tokens: Tokens,
        *,
        nonce: str,
        code: str,
        is_refresh: bool = False,
    ) -> dict[str, Any]:
        """Who logged in: the claims of an ID token that passed the check list, completed from userinfo where needed.

        Raises:
            TokenInvalid: The ID token did not pass.
            ProviderError: Keys or userinfo could not be had.
        """
        expected = self._expected(connection, metadata, tokens, nonce, code, is_refresh)
        claims = await self._check(connection, metadata, lambda keys: check_id_token(tokens.id_token, keys, expected))
        if not metadata.userinfo_endpoint or not needs_userinfo(claims, connection):
            return claims
        return merge_userinfo(claims, await self.userinfo(connection, metadata, tokens))

    async def userinfo(self, connection: Connection, metadata: Metadata, tokens: Tokens) -> Answer:
        """What the userinfo endpoint says to an access token, whatever the status.

        Raises:
            TokenInvalid: It was signed, and did not pass.
            ProviderError: It could not be had.
        """
        answer = await self._call(
            connection,
            lambda: self._fetcher.get(metadata.userinfo_endpoint, owner=connection.owner, bearer=tokens.access_token),
        )
        if not answer.token:
            return answer
        # Signed answers are for those who registered the client so; what is signed is checked, not just read.
        expected = self._expected(connection, metadata, tokens, "", "", True)
        said = await self._check(connection, metadata, lambda keys: check_userinfo(answer.token, keys, expected))
        return Answer(answer.status, said)

    async def verify(self, connection: Connection, check: Callable[[Metadata, KeySet], T]) -> T:
        """What `check` makes of a token, by the keys we have; when none fits, by the provider's newest.

        Raises:
            TokenInvalid: From `check`.
            ProviderError: Metadata or keys could not be had.
        """
        metadata = await self.metadata(connection)
        return await self._check(connection, metadata, lambda keys: check(metadata, keys))

    async def aclose(self) -> None:
        """Closes every connection to providers."""
        await self._fetcher.aclose()

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

    async def _check(self, connection: Connection, metadata: Metadata, check: Callable[[KeySet], T]) -> T:
        """Checks with the keys we have; when none fits, with the provider's newest."""
        try:
            return check(await self._keys(connection, metadata))
        except KeyUnknown:
            log.info("no key fits a token, the provider may have new ones: connection=%s", connection.id)
        return check(await self._keys(connection, metadata, newer=True))

    async def _keys(self, connection: Connection, metadata: Metadata, *, newer: bool = False) -> KeySet:
        async def read() -> KeySet:
            answer = await self._call(connection, lambda: self._fetcher.get(metadata.jwks_uri, owner=connection.owner))
            if answer.status != 200:
                raise ProviderError("invalid", f"its keys are not there (status {answer.status})")
            return read_keys(answer.content)

        keys = self._known.of(connection).keys
        return await (keys.get_newer if newer else keys.get)(read, self._monotonic)

    async def _post(self, connection: Connection, url: str, form: bytes, headers: dict[str, str]) -> Answer:
        return await self._call(connection, lambda: self._fetcher.post_form(url, form, headers, owner=connection.owner))

    async def _call(self, connection: Connection, call: Callable[[], Awaitable[Answer]]) -> Answer:
        known = self._known.of(connection)
        async with AsyncExitStack() as turns:
            try:
                async with asyncio.timeout(QUEUE_SECONDS):
                    # The narrowest first: who waits for it takes nothing from anybody.
                    for turn in (known.calls, known.owners_calls, self._calls):
                        await turns.enter_async_context(turn)
            except TimeoutError as error:
                raise Busy from error
            return await call()
