"""Calls the relay's API: finds its address, sends requests, and follows the pages of lists.

Calls are bounded in time and size, and use no cookies and redirects: the key is sent only to the API.
"""

import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

from tunnelctl import __version__
from tunnelctl.agent.address import RelayAddress, bracketed, malformed
from tunnelctl.agent.wayout import for_httpx
from tunnelctl.link.dial import tls_context
from tunnelctl.link.proxy import Proxy
from tunnelctl.wire.texts import is_loopback

INFO_PATH = "/_tunnel/info"
LOCAL_PATH = "/_tunnel/api"
"""Path of the API on a relay on this machine, as most programs cannot resolve names under `localhost`."""
CONNECT_SECONDS, CALL_SECONDS = 5.0, 30.0
MAX_ANSWER = 32 * 1024 * 1024
"""Maximum bytes of one response: a hundred edges with a thousand rules each."""


class ApiAway(Exception):
    """The API did not respond, or another server did. The message is for display."""


class ApiAddressInvalid(ValueError):
    """The API's address is not usable. The message is for display."""


class ApiRefused(Exception):
    """The API responded with an error.

    Attributes:
        status: HTTP status of the response.
        code: Short, stable error code for programs; "" when the response had none.
        request_id: Id of the request in the relay's log; "" when the response had none.
    """

    def __init__(self, status: int, message: str, code: str = "", request_id: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.request_id = request_id


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiCall:
    """One request: method, path, query and body. The client adds address and key."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None


class Api:
    """A client for the API at one address, with one key.

    Args:
        base: Base URL of the API, as returned by `base_of`.
        ca_file: PEM file of certificate authorities to trust instead of the system's.
        proxy: Proxy to the API; None for a direct connection.
        transport: Makes the calls; None for the network.
    """

    def __init__(
        self,
        base: str,
        key: str,
        *,
        ca_file: str | None = None,
        proxy: Proxy | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._base = base
        self._proxy = proxy
        self._client = _client(ca_file, proxy, transport, {"Authorization": f"Bearer {key}"})

    def close(self) -> None:
        """Close the client's connections."""
        self._client.close()

    def call(self, call: ApiCall) -> Any:
        """Send a request and return the JSON of the response; None when it has no content.

        Raises:
            ApiRefused: The API responded with an error.
            ApiAway: The API did not respond, or another server did.
        """
        url = f"{self._base}{call.path}"
        status, answer = _ask(self._client, call.method, url, call.query, call.body, self._proxy)
        if status == 204:
            return None
        if not isinstance(answer, dict):
            raise ApiAway(f"what answers at {self._base} is no API of a relay (HTTP {status})")
        if status >= 400:
            raise _refusal(status, answer)
        return answer

    def call_all(self, call: ApiCall) -> Any:
        """Like `call`, for a list: follow its pages to the end and return them as one.

        Only the query of a next page's URL is used, so that the key is sent to no other host.
        """
        whole = page = self.call(call)
        seen: set[str] = set()
        while following := page.get("next_page_uri"):
            if not isinstance(following, str) or following in seen:
                raise ApiAway("the list does not come to an end")
            seen.add(following)
            query = dict(parse_qsl(urlsplit(following).query, keep_blank_values=True))
            page = self.call(ApiCall(method=call.method, path=call.path, query=query))
            for name, value in page.items():
                if isinstance(value, list) and isinstance(whole.get(name), list):
                    whole[name] += value
        return {**whole, "next_page_uri": None} if "next_page_uri" in whole else whole


def base_of(url: str) -> str:
    """Return the API's base URL, without a trailing slash, for an address that a user typed.

    Raises:
        ApiAddressInvalid: The text is not an address, or plain http would send the key over a network.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise ApiAddressInvalid(malformed(url, error)) from None
    host = parts.hostname or ""
    if parts.scheme not in ("https", "http") or not host or "@" in parts.netloc or parts.query or parts.fragment:
        raise ApiAddressInvalid(f"{url}: the API's address is like https://api.tun.example")
    if parts.scheme == "http" and not is_loopback(host):
        raise ApiAddressInvalid(f"{url}: plain http to another machine would send the key in the clear; use https://")
    path = parts.path.rstrip("/") or (LOCAL_PATH if is_loopback(host) else "")
    host = "127.0.0.1" if host.endswith(".localhost") else host
    return f"{parts.scheme}://{bracketed(host)}{f':{port}' if port else ''}{path}"


def find_base(
    relay: RelayAddress,
    ca_file: str | None,
    proxy: Proxy | None = None,
    transport: httpx.BaseTransport | None = None,
) -> str:
    """Return the base URL of a relay's API, from the relay's public information.

    Raises:
        ApiAway: The relay does not respond, or has no API.
    """
    client = _client(ca_file, proxy, transport, {})
    try:
        status, info = _ask(client, "GET", f"{relay.url}{INFO_PATH}", {}, None, proxy)
    finally:
        client.close()
    url = info.get("api_url") if status == 200 and isinstance(info, dict) else None
    if not isinstance(url, str):
        raise ApiAway(f"what answers at {relay.url} is no relay with an API")
    if relay.is_loopback and is_loopback(urlsplit(url).hostname or ""):
        return f"{relay.url}{LOCAL_PATH}"  # use the address that just responded, as the public port may differ
    try:
        return base_of(url)
    except ApiAddressInvalid as error:
        raise ApiAway(f"the relay at {relay.url} gave an address that cannot be used: {error}") from None


def _client(
    ca_file: str | None, proxy: Proxy | None, transport: httpx.BaseTransport | None, headers: Mapping[str, str]
) -> httpx.Client:
    way = for_httpx(proxy)
    return httpx.Client(
        transport=transport or httpx.HTTPTransport(verify=tls_context(ca_file), trust_env=False, proxy=way),
        trust_env=False,
        follow_redirects=False,
        timeout=httpx.Timeout(CALL_SECONDS, connect=CONNECT_SECONDS),
        headers={"User-Agent": f"tunnelctl/{__version__}", "Accept": "application/json", **headers},
    )


def _ask(
    client: httpx.Client,
    method: str,
    url: str,
    query: Mapping[str, str],
    body: Mapping[str, Any] | None,
    proxy: Proxy | None,
) -> tuple[int, Any]:
    """Return status and JSON of a response; None instead of a body that is not JSON."""
    where = url.partition("?")[0] + (f" through the proxy {proxy.url}" if proxy is not None else "")
    try:
        with client.stream(method, url, params=dict(query) or None, json=body) as response:
            text = bytearray()
            for part in response.iter_bytes():
                text += part
                if len(text) > MAX_ANSWER:
                    raise ApiAway(f"{where}: the answer is longer than {MAX_ANSWER >> 20} MiB")
    except httpx.TimeoutException:
        raise ApiAway(f"{where}: no answer in time") from None
    except httpx.HTTPError as error:
        raise ApiAway(f"{where}: {_reason(error)}") from None
    try:
        return response.status_code, httpx.Response(200, content=bytes(text)).json()
    except (ValueError, RecursionError):
        return response.status_code, None


def _reason(error: httpx.HTTPError) -> str:
    """Describe why there was no response. Contains no part of the request, which has a key."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate cannot be trusted: {cause.verify_message}"
        if isinstance(cause, socket.gaierror):
            return "there is no host of this name"
        if isinstance(cause, OSError) and cause.errno and not isinstance(cause, ssl.SSLError):
            return os.strerror(cause.errno).lower()
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ProxyError):
        return str(error)
    return "there is no connection to it" if isinstance(error, httpx.ConnectError) else "the connection was broken off"


def _refusal(status: int, answer: Mapping[str, Any]) -> ApiRefused:
    """Return the exception for an error response (RFC 9457), with the parts that it contains."""

    def text_of(source: object, name: str) -> str:
        value = source.get(name) if isinstance(source, dict) else None
        return value if isinstance(value, str) else ""

    message = text_of(answer, "detail") or text_of(answer, "title") or text_of(answer, "msg") or f"HTTP {status}"
    code = text_of(answer, "type").rpartition(":")[2] or text_of(answer, "error_code")
    return ApiRefused(status, message, code, text_of(answer.get("details"), "operation_id"))
