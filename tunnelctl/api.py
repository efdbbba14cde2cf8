"""The Python API: serves a local app at a public address while a block of code runs.

    async with tunnelctl.forward(3000, relay="https://tun.example", subdomain="demo") as endpoint:
        response = await endpoint.client().get("/health")

`import tunnelctl` does not load this module; it is loaded when one of its names is first used. `tunnelctl.forwarding`
does the work.
"""

import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field

from tunnelctl.cli.flag_values import TunnelFlags
from tunnelctl.cli.run_settings import run_settings
from tunnelctl.forwarding.endpoint import AsyncEndpoint, open_endpoint
from tunnelctl.forwarding.errors import (
    AddressTaken,
    AppEnded,
    CredentialRefused,
    NoHits,
    NotReady,
    RelayUnreachable,
    RunRefused,
    SettingsRefused,
    TunnelError,
    TunnelLost,
)
from tunnelctl.forwarding.sync import SyncEndpoint, on_a_thread
from tunnelctl.policy.fields import FIELDS
from tunnelctl.policy.parse import PolicyTexts
from tunnelctl.secret import Secret

__all__ = (
    "AddressTaken",
    "AppEnded",
    "AsyncEndpoint",
    "CredentialRefused",
    "Jwt",
    "NoHits",
    "NotReady",
    "Oidc",
    "RelayUnreachable",
    "RunRefused",
    "SettingsRefused",
    "SyncEndpoint",
    "TunnelError",
    "TunnelLost",
    "forward",
    "forward_sync",
)

Entries = Iterator[tuple[str, str]]
"""Texts of a policy's settings, each with the path of its setting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Oidc:
    """A login for visitors at an OpenID provider.

    Attributes:
        issuer: Issuer URL of the provider; or `@NAME` for one that the relay has, which needs no client.
        client_secret: The secret itself, `env:NAME`, or `file:PATH`.
        allow_emails, allow_domains, allow_groups: The people who may enter; with none, all who can log in.
    """

    issuer: str
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    allow_emails: Sequence[str] = ()
    allow_domains: Sequence[str] = ()
    allow_groups: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Jwt:
    """An issuer whose tokens let programs in without a login.

    Attributes:
        claims: Claims that a token must have, by name.
    """

    issuer: str
    audience: str
    claims: Mapping[str, str] = field(default_factory=dict)


def forward(
    upstream: int | str,
    *,
    relay: str = "",
    authtoken: str | Secret = "",
    subdomain: str = "",
    url: str = "",
    oidc: Oidc | str | None = None,
    jwt: Sequence[Jwt] = (),
    basic_auth: Sequence[str] = (),
    cidr_allow: Sequence[str] = (),
    ready_path: str | None = None,
    ready_timeout: float = 60.0,
    require_hits: int = 0,
) -> AbstractAsyncContextManager[AsyncEndpoint]:
    """Serve a local app at a public address while the block runs.

    The block begins once a request of ours has come back from the app. When it ends, the name is given up. Cancelling
    the task does the same.

    Args:
        upstream: Port, `host:port` or URL of the app.
        relay: URL of the relay, or `embedded` for one that runs on this machine while the block runs and needs no
            authtoken; "" for `TUNNELCTL_RELAY`, the configuration file, or a relay on this machine.
        authtoken: The token itself, `env:NAME`, `file:PATH`, or `oidc` in a CI job; "" for `TUNNELCTL_AUTHTOKEN` or the
            configuration file.
        subdomain: Name under the relay's domain; "" for one that the relay chooses.
        url: Whole public URL instead of `subdomain`.
        oidc: Login for visitors, or just `@NAME` of a provider that the relay has. The block's own requests need none.
        jwt: Issuers whose tokens let programs in.
        basic_auth: `USER:PASSWORD` pairs that let visitors in.
        cidr_allow: Networks from which visitors may come; empty for all.
        ready_path: Path that must answer with 2xx before the block begins; None for `/`, which may answer anything
            below 500.
        ready_timeout: Maximum seconds until the block begins.
        require_hits: Minimum requests that the app must have answered when the block ends.

    Raises:
        SettingsRefused: The settings are invalid; it is a `ValueError` too.
        TunnelError: On entering, one of its subclasses for each cause: `RelayUnreachable`, `CredentialRefused`,
            `AddressTaken`, `NotReady` and `RunRefused`. On leaving, if the block raised nothing: `TunnelLost`,
            `AddressTaken` and `NoHits`.
    """
    secret = authtoken.reveal() if isinstance(authtoken, Secret) else authtoken
    entries = tuple(_entries(oidc, jwt, basic_auth, cidr_allow))
    given = {path for path, _ in entries}
    flags = TunnelFlags(
        address=str(upstream),
        relay=relay or os.environ.get("TUNNELCTL_RELAY", ""),
        authtoken=secret or os.environ.get("TUNNELCTL_AUTHTOKEN", ""),
        subdomain=subdomain,
        url=url,
        typed=frozenset({"oidc"} if "oidc.issuer" in given else ()) | frozenset({"relay"} if relay else ()),
        policy=PolicyTexts((*entries, *_from_environment(given))),
    )
    return _forward(flags, ready_path=ready_path, ready_timeout=ready_timeout, require_hits=require_hits)


def forward_sync(
    upstream: int | str,
    *,
    relay: str = "",
    authtoken: str | Secret = "",
    subdomain: str = "",
    url: str = "",
    oidc: Oidc | str | None = None,
    jwt: Sequence[Jwt] = (),
    basic_auth: Sequence[str] = (),
    cidr_allow: Sequence[str] = (),
    ready_path: str | None = None,
    ready_timeout: float = 60.0,
    require_hits: int = 0,
) -> AbstractContextManager[SyncEndpoint]:
    """Serve a local app as `forward` does, for code without an event loop.

    The work is done on a thread with a loop of its own. Arguments and errors are those of `forward`.
    """
    return on_a_thread(
        lambda: forward(
            upstream,
            relay=relay,
            authtoken=authtoken,
            subdomain=subdomain,
            url=url,
            oidc=oidc,
            jwt=jwt,
            basic_auth=basic_auth,
            cidr_allow=cidr_allow,
            ready_path=ready_path,
            ready_timeout=ready_timeout,
            require_hits=require_hits,
        )
    )


@asynccontextmanager
async def _forward(
    flags: TunnelFlags, *, ready_path: str | None, ready_timeout: float, require_hits: int
) -> AsyncIterator[AsyncEndpoint]:
    async with run_settings(flags, ready_path) as config:
        serving = open_endpoint(config, ready_path=ready_path, ready_timeout=ready_timeout, require_hits=require_hits)
        async with serving as endpoint:
            yield endpoint


def _entries(
    oidc: Oidc | str | None, jwt: Sequence[Jwt], basic_auth: Sequence[str], cidr_allow: Sequence[str]
) -> Entries:
    login = Oidc(issuer=oidc) if isinstance(oidc, str) else oidc
    if login is not None:
        yield "oidc.issuer", login.issuer
        for name in ("client_id", "client_secret"):
            if text := getattr(login, name):
                yield f"oidc.{name}", text
        for name in ("allow_emails", "allow_domains", "allow_groups"):
            yield from ((f"oidc.{name}", text) for text in getattr(login, name))
    for one in jwt:
        yield "jwt.issuer", one.issuer
        yield "jwt.audience", one.audience
        yield from (("jwt.claims", f"{name}={value}") for name, value in one.claims.items())
    yield from (("basic_auth", pair) for pair in basic_auth)
    yield from (("cidr_allow", network) for network in cidr_allow)


def _from_environment(given: set[str]) -> Entries:
    """Yield the settings that only the environment gives, as for the commands: a login required there must hold."""
    for row in FIELDS:
        if row.variable and row.path not in given and (text := os.environ.get(row.variable)):
            yield row.path, text
