"""Makes one bounded call to a provider, and returns a JSON object or raises `ProviderError`.

It limits time, size, type, redirects and compression of responses. Limits on heads and framing are in
`response_limits.py`.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import httpx

from tunnelctl.bounds import DeclaredBound
from tunnelctl.oidc.errors import ProviderError
from tunnelctl.oidc.strict_json import NotStrictJson, parse_object
from tunnelrelay.oidc.providers.ssrf_guard import CallRefused, Untrusted

JWT_TYPE = "application/jwt"
"""Media type of a signed userinfo response (Core section 5.3.2)."""
MAX_BODY = 256 * 1024
"""Maximum bytes of a response's body. The largest honest document is a JWK set with certificates, about 20 kB."""

BOUNDS = (
    DeclaredBound(
        name="body",
        limit=MAX_BODY,
        unit="bytes",
        per="answer",
        when_full="the provider counts as one that cannot be used",
        worst_bytes=4 * MAX_BODY,
    ),
)
MAX_PARTS = 2_000
"""Maximum pieces in which a body may arrive. Each chunk is a piece, and a small one costs about as much time as a large
one."""
PARTS_AT_A_TIME = 128
"""Number of pieces of a body that are read before other tasks get their turn, as pieces that arrived together are read
without waiting."""
CONNECT_SECONDS = 3.0
TOTAL_SECONDS = 8.0
"""Maximum seconds for a whole call. A visitor waits for it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A provider's response whose body is a JSON object.

    Attributes:
        token: The body if it is a JWT, where one is allowed; unverified. Else "".
    """

    status: int
    content: dict[str, Any]
    token: str = field(default="", repr=False)


class Fetcher:
    """Makes calls over one transport (a guarded one, except in tests). Keeps no cookies and follows no redirects.

    Args:
        total_seconds: Maximum seconds for a whole call.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport, *, total_seconds: float = TOTAL_SECONDS) -> None:
        self._transport = transport
        self._total_seconds = total_seconds

    async def get(self, url: str, *, owner: str = "", issuer: str = "", bearer: str = "") -> Answer:
        """Return the JSON object at a URL; with a bearer token, the userinfo response (a JSON object or a JWT).

        Args:
            owner: Owner that the call is for. Slow DNS delays only calls of the same owner.
            issuer: The issuer of the endpoint. At the port in an issuer's URL, only that issuer's host may be called.
        """
        if not bearer:
            return await self._call("GET", url, (owner, issuer), {}, b"")
        headers = {"Authorization": f"Bearer {bearer}", "Accept": f"application/json, {JWT_TYPE}"}
        return await self._call("GET", url, (owner, issuer), headers, b"")

    async def post_form(
        self, url: str, form: bytes, headers: dict[str, str], *, owner: str = "", issuer: str = ""
    ) -> Answer:
        """Send a form (`application/x-www-form-urlencoded`) and return the JSON object in the response."""
        headers = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
        return await self._call("POST", url, (owner, issuer), headers, form)

    async def aclose(self) -> None:
        """Close all connections to providers."""
        await self._transport.aclose()

    async def _call(
        self, method: str, url: str, whose: tuple[str, str], headers: dict[str, str], body: bytes
    ) -> Answer:
        try:
            async with asyncio.timeout(self._total_seconds):
                return await self._exchange(method, url, whose, headers, body)
        except TimeoutError as error:
            raise ProviderError("unreachable", f"{_origin(url)} did not answer in time") from error
        except CallRefused as error:
            detail = f"{_origin(url)} may not be called: {error}"
            raise ProviderError("refused" if error.is_tellable else "unreachable", detail) from error
        except Untrusted as error:
            raise ProviderError(
                "untrusted",
                f"the relay does not trust the certificate of {_origin(url)}: {error}; hint: for a private authority, "
                "the relay's operator gives its certificate with --issuer-ca FILE",
            ) from error
        except httpx.InvalidURL as error:
            raise ProviderError("invalid", "not a URL") from error
        except httpx.HTTPError as error:
            raise ProviderError("unreachable", f"{_origin(url)} could not be reached: {error}") from error

    async def _exchange(
        self, method: str, url: str, whose: tuple[str, str], headers: dict[str, str], body: bytes
    ) -> Answer:
        timeouts = {"connect": CONNECT_SECONDS, "read": self._total_seconds, "write": self._total_seconds}
        request = httpx.Request(
            method,
            url,
            # No compression: a compressed bomb would pass the size limit.
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": "tunnelrelay",
                **headers,
            },
            content=body if method == "POST" else None,
            extensions={"timeout": {**timeouts, "pool": self._total_seconds}, "owner": whose[0], "issuer": whose[1]},
        )
        response = await self._transport.handle_async_request(request)
        try:
            return await _read(response, request)
        finally:
            await response.aclose()


async def _read(response: httpx.Response, request: httpx.Request) -> Answer:
    where = _origin(str(request.url))
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if 300 <= response.status_code < 400:
        raise ProviderError("invalid", f"{where} answered with a redirect, which is not followed")
    if response.status_code == 401 and request.headers.get("Authorization", "").startswith("Bearer "):
        return Answer(
            401, {}
        )  # the error code is in WWW-Authenticate (RFC 6750 section 3); most bodies are empty, or not JSON
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise ProviderError("invalid", f"{where} sent a compressed answer, which was not asked for")
    is_token = media_type == JWT_TYPE and JWT_TYPE in request.headers["Accept"]
    if media_type != "application/json" and not media_type.endswith("+json") and not is_token:
        raise ProviderError("invalid", f"{where} answered {response.status_code} with something other than JSON")
    assert isinstance(response.stream, httpx.AsyncByteStream)
    content, parts = bytearray(), 0
    async for part in response.stream:
        content += part
        parts += 1
        if parts % PARTS_AT_A_TIME == 0:
            await asyncio.sleep(0)
        if parts > MAX_PARTS:
            raise ProviderError("invalid", f"{where} answered in more than {MAX_PARTS} parts")
        if len(content) > MAX_BODY:
            raise ProviderError("invalid", f"{where} answered with more than {MAX_BODY} bytes")
    if is_token:
        return Answer(response.status_code, {}, token=content.decode("latin-1"))
    try:
        return Answer(response.status_code, parse_object(bytes(content), max_bytes=MAX_BODY))
    except NotStrictJson as error:
        raise ProviderError("invalid", f"{where} answered with unusable JSON: {error}") from error


def _origin(url: str) -> str:
    """Return scheme and host of a URL, for logs: paths and queries may contain secrets."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}"[:200]
