"""The SSRF guard: keeps calls to URLs that tenants choose away from the relay's own network.

It checks the IP address that is connected to, after resolving, and every address of a name, so that neither names that
point to internal addresses nor DNS rebinding can bypass it. There are no redirects, proxies or cookies: each URL in a
provider's metadata is checked by itself.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from ssl import SSLCertVerificationError, SSLContext, create_default_context, get_default_verify_paths
from typing import Any

import httpcore
import httpx

from tunnelctl.bounds import DeclaredBound
from tunnelctl.oidc.ports import DEFAULT_PORTS, PortRule, hint
from tunnelrelay.address import PublicAddress
from tunnelrelay.oidc.providers.dns import Resolver
from tunnelrelay.oidc.providers.response_limits import Metered

Network = IPv4Network | IPv6Network
Resolve = Callable[[str, str], Awaitable[list[str]]]

_OWNER: ContextVar[str] = ContextVar("owner")
"""The owner of the current call, for the resolver. A context variable, as a connection pool does not pass on for which
request it connects."""

MAX_CONNECTIONS = 200
"""Maximum concurrent calls of all owners. Each owner has a share (`known_providers.py`); 25 owners must exhaust theirs
before others wait. A connection costs a file descriptor and about 50 kB."""

BOUNDS = (
    DeclaredBound(
        name="calls to providers under way, of all owners",
        limit=MAX_CONNECTIONS,
        unit="calls",
        per="relay",
        when_full="further ones wait, for 10 seconds at most",
        worst_bytes=MAX_CONNECTIONS * 50_000,
    ),
)
MAX_PORT = 65_535
"""Maximum port. uvloop connects to a larger one modulo 65,536: 65,558 would lead to port 22, which `PortRule` has not
checked."""
LOOPBACK: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
_REFUSED: tuple[Network, ...] = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
        "::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32",
        "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip
"""Networks in IANA's special-purpose address registries. Listed here because Python 3.11's `is_global` treats NAT64
(64:ff9b::/96), 6to4 (2002::/16) and multicast as global, and the first two can reach any IPv4 address."""


class CallRefused(httpx.RequestError):
    """The guard refuses this call.

    Attributes:
        is_tellable: The text may be shown to the owner who chose the URL: it is about the port, or owners are trusted.
            Texts about what names resolve to would reveal our network.
    """

    def __init__(self, message: str, *, request: httpx.Request | None = None, is_tellable: bool = False) -> None:
        super().__init__(message, request=request)
        self.is_tellable = is_tellable


class Untrusted(httpx.TransportError):
    """The provider's certificate is not trusted by the relay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardRules:
    """The addresses and ports that may be called.

    Attributes:
        allow_http: Allow plain http; only for a relay on domain `localhost`.
        ports: Ports that may be called; None for all.
        takes_issuers_port: Also allow the port in an issuer's URL, at that issuer's own host.
        networks: Special-purpose networks that the operator allows.
        trusts_owners: Owners may learn that a name resolves to a private address.
        is_own: Function that returns whether (host, port) is the relay itself; calls to its own endpoints would loop.
    """

    allow_http: bool = False
    ports: frozenset[int] | None = frozenset({443})
    takes_issuers_port: bool = False
    networks: tuple[Network, ...] = ()
    trusts_owners: bool = False
    is_own: Callable[[str, int], bool] = lambda host, port: False

    @classmethod
    def of_relay(
        cls, address: PublicAddress, networks: tuple[Network, ...], ports: tuple[int, ...] = ()
    ) -> "GuardRules":
        """Return the rules of a relay: no private addresses, unless the relay is private itself or its operator allows
        them.

        Args:
            ports: Ports that the operator allows; empty without such a setting.
        """

        def is_own(host: str, port: int) -> bool:
            # On `localhost` every other port of the name belongs to another program, probably the provider.
            is_our_name = host == address.domain or host.endswith("." + address.domain)
            return is_our_name and (not address.is_local or port == address.port)

        trusts_owners = not address.is_multi_tenant
        if not address.is_local:
            return cls(
                ports=frozenset(ports) or DEFAULT_PORTS,
                takes_issuers_port=trusts_owners and not ports,
                networks=networks,
                trusts_owners=trusts_owners,
                is_own=is_own,
            )
        return cls(
            allow_http=True,
            ports=frozenset(ports) or None,
            networks=(*networks, *LOOPBACK),
            trusts_owners=trusts_owners,
            is_own=is_own,
        )

    @property
    def port_rule(self) -> PortRule:
        """The rule for the ports that may be called."""
        return PortRule(self.ports, self.takes_issuers_port)

    def permits_address(self, text: str) -> bool:
        """Return whether connecting to an IP address is allowed."""
        address = _literal(text.partition("%")[0])
        if address is None:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return _within(address, self.networks) or not _within(address, _REFUSED)

    def issuer_fault(self, issuer: str) -> str:
        """Return why an issuer must not be called, for the person who configured it; "" when it may.

        Does not resolve its name.
        """
        try:
            return self.fault(httpx.URL(issuer), issuer)
        except (httpx.InvalidURL, ValueError):
            return "it is not a URL"

    def fault(self, url: httpx.URL, issuer: str = "") -> str:
        """Return why a URL must not be called, before its name is resolved; "" when it may.

        Args:
            issuer: The issuer of the endpoint.
        """
        port = url.port or (443 if url.scheme == "https" else 80)
        host = url.raw_host.decode("ascii")
        if url.scheme != "https" and not (self.allow_http and url.scheme == "http"):
            return "the address does not start with https://"
        if not host or url.userinfo or url.fragment:
            return "the address has no host, or has user information or a fragment"
        if port > MAX_PORT:
            return f"there is no port {port}"
        if refusal := self.port_rule.refusal(str(url), issuer):
            return f"{refusal}; {hint(str(url))}"
        if self.is_own(host.rstrip("."), port):
            return "the address is this relay's own"
        literal = _literal(host)
        if literal is not None and not _within(literal, self.networks):
            # Certificates for IP addresses are so rare that a URL with one is nearly always a probe.
            return "the address is an IP address; use the provider's name"
        return ""


def provider_tls(ca_file: Path | None) -> SSLContext:
    """Return the TLS context for providers, with the system's certificate authorities and the operator's own.

    All transports share one context, as reading the system's authorities takes longer than the rest of a relay's start.

    Raises:
        OSError: The file cannot be read, or contains no certificate.
    """
    paths = get_default_verify_paths()  # respects the environment
    return _trusting(ca_file, paths.cafile, paths.capath)


@lru_cache(maxsize=4)
def _trusting(ca_file: Path | None, _system_file: str | None, _system_folder: str | None) -> SSLContext:
    context = create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


class GuardedTransport(httpx.AsyncBaseTransport):
    """An httpx transport that makes only the calls its rules allow.

    Args:
        connect: Connects to a checked address.
        resolve: Resolves (host, owner) to IP addresses.
        tls: Context that verifies certificates; verification cannot be turned off.
    """

    def __init__(
        self,
        rules: GuardRules,
        *,
        connect: httpcore.AsyncNetworkBackend | None = None,
        resolve: Resolve | None = None,
        tls: SSLContext | None = None,
    ) -> None:
        self._rules = rules
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls or create_default_context(),
            max_connections=MAX_CONNECTIONS,
            keepalive_expiry=15.0,
            network_backend=_GuardedBackend(rules, connect or httpcore.AnyIOBackend(), resolve or Resolver().resolve),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request if the rules allow its URL. Raises `CallRefused` otherwise.

        The request's extension `owner` is the owner of the call, for the resolver's limits; `issuer` is the issuer of
        the endpoint.
        """
        _OWNER.set(request.extensions.get("owner", ""))
        issuer = request.extensions.get("issuer", "")
        if fault := self._rules.fault(request.url, issuer):
            is_about_port = bool(self._rules.port_rule.refusal(str(request.url), issuer))
            raise CallRefused(fault, request=request, is_tellable=is_about_port)
        url = request.url
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        with _translated(request):
            response = await self._pool.handle_async_request(
                httpcore.Request(
                    request.method,
                    target,
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        stream = response.extensions.get("network_stream")
        if isinstance(stream, Metered):
            stream.head_is_complete()
        return httpx.Response(response.status, headers=response.headers, stream=_Body(response, request))

    async def aclose(self) -> None:
        """Close all connections to providers."""
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    """The stream of a response's body, which translates httpcore's errors to httpx's."""

    def __init__(self, response: httpcore.Response, request: httpx.Request) -> None:
        self._response = response
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translated(self._request):
            async for part in self._response.aiter_stream():
                yield part

    async def aclose(self) -> None:
        await self._response.aclose()


class _GuardedBackend(httpcore.AsyncNetworkBackend):
    """Connects only to addresses that the rules allow. TLS on top of it uses the original host name."""

    def __init__(self, rules: GuardRules, connect: httpcore.AsyncNetworkBackend, resolve: Resolve) -> None:
        self._rules = rules
        self._connect = connect
        self._resolve = resolve

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self._resolve(host, _OWNER.get())
        if not addresses:
            raise CallRefused(f"{host} cannot be resolved")
        if not all(map(self._rules.permits_address, addresses)):
            # One refused address refuses the whole name: a name with a public and a private address is an attack or a
            # mistake.
            raise CallRefused(
                f"{host} does not lead to public addresses only; the relay's operator can allow a private network "
                "with --issuer-network",
                is_tellable=self._rules.trusts_owners,
            )
        for address in addresses[:-1]:
            try:
                return Metered(await self._connect.connect_tcp(address, port, timeout, local_address, socket_options))
            except (httpcore.NetworkError, httpcore.TimeoutException):
                continue
        return Metered(await self._connect.connect_tcp(addresses[-1], port, timeout, local_address, socket_options))

    async def sleep(self, seconds: float) -> None:
        await self._connect.sleep(seconds)


@contextmanager
def _translated(request: httpx.Request) -> Iterator[None]:
    try:
        yield
    except httpcore.TimeoutException as error:
        raise httpx.TimeoutException(f"no answer in time ({type(error).__name__})", request=request) from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
        if (untrusted := _untrusted(error)) is not None:
            raise Untrusted(untrusted.verify_message, request=request) from error
        raise httpx.TransportError(str(error) or type(error).__name__, request=request) from error


def _untrusted(error: BaseException) -> SSLCertVerificationError | None:
    """Return the failed certificate verification that caused an error; None when there was none."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    return cause


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _within(address: IPv4Address | IPv6Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks if network.version == address.version)
