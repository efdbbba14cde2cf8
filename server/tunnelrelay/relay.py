"""The composition root: makes every part of a relay, ties them together, and takes them down in order."""

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any, Self

from tunnelrelay.address import PublicAddress
from tunnelrelay.agents.accept import Acceptor
from tunnelrelay.agents.remember import NameKeeper
from tunnelrelay.agents.revoked import RevokedTokens
from tunnelrelay.agents.session import Desk
from tunnelrelay.audit_log import AuditKeeper
from tunnelrelay.config import KEYS_FILE_NAME, RelayConfig
from tunnelrelay.control import ControlError, ControlSocket
from tunnelrelay.ingress.gate import Gate
from tunnelrelay.ingress.handover import Handover
from tunnelrelay.ingress.ingress import SWEEP_SECONDS, Ingress
from tunnelrelay.ingress.inside import Inside
from tunnelrelay.ingress.listen import Certificate, bind, listen
from tunnelrelay.ingress.route import Router
from tunnelrelay.observe.access import AccessLog
from tunnelrelay.observe.admin import Admin, Check
from tunnelrelay.observe.audit import Audit
from tunnelrelay.observe.metrics import Metrics
from tunnelrelay.oidc.bearer import Bearers
from tunnelrelay.oidc.fetch import Fetcher
from tunnelrelay.oidc.guard import LOOPBACK, GuardedTransport, GuardRules
from tunnelrelay.oidc.login import Login
from tunnelrelay.oidc.login_limits import LoginLimits
from tunnelrelay.oidc.logout import Logout
from tunnelrelay.oidc.provider import Providers
from tunnelrelay.oidc.provider_logout import ProviderLogout
from tunnelrelay.oidc.rotation import RelayKeys
from tunnelrelay.oidc.secret_files import SecretFileError
from tunnelrelay.oidc.sessions import Sessions
from tunnelrelay.policy.rules import Connection
from tunnelrelay.registry.memory import LOST_SECONDS, Registry
from tunnelrelay.store.base import Store, StoreError
from tunnelrelay.store.store import FILE_NAME as STORE_FILE
from tunnelrelay.store.store import SqliteStore
from tunnelrelay.web.app import WebApp

log = logging.getLogger("tunnelrelay")

RECHECK_SECONDS = 5.0
"""How long a stopping relay waits for providers: a refresh that is cut off costs its visitor the session."""
CERTIFICATE_SECONDS = 5.0
"""How often certificate files are looked at."""
RESTART_SECONDS = 1.0
"""Before background work that failed begins anew: short beside the 5 s in which a revocation holds."""


class StartError(Exception):
    """The relay cannot start; the text is for the operator."""


class Relay:
    """One relay. Its background work runs as tasks between `start` and `stop`.

    Args:
        access: Where exchanges are logged; nowhere by default.

    Attributes:
        address: The public face; known once started, as the port may be the system's choice.
        http, https, admin: Addresses it truly listens on, None for those that are off.
    """

    def __init__(self, config: RelayConfig, *, access: AccessLog | None = None) -> None:
        self._config = config
        self._access = access or AccessLog(lambda lines: None, is_on=False)
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []
        self._admin: Admin | None = None
        self._is_draining = False
        self.metrics = Metrics()
        self.http: tuple[str, int] | None = None
        self.https: tuple[str, int] | None = None
        self.admin: tuple[str, int] | None = None
        self.address: PublicAddress
        self.ingress: Ingress
        self.registry: Registry
        self.store: Store

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen and serve.

        Raises:
            StartError: Something it needs cannot be had; whatever was started is stopped again.
        """
        try:
            await self._start()
        except (OSError, StoreError, SecretFileError, ControlError) as error:
            await self.stop()
            raise StartError(str(error)) from error

    async def stop(self) -> None:
        """Stop listening, let what runs finish for `drain_seconds`, then close everything."""
        self._is_draining = True
        for server in self._servers:
            server.close()
        if hasattr(self, "ingress"):
            await self._drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._close()

    # Starting

    async def _start(self) -> None:
        config = self._config
        config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        plain = bind(*config.http) if config.http is not None else None
        secure = bind(*config.https) if config.https is not None else None
        self.http, self.https = _name(plain), _name(secure)
        certificate = None
        if config.tls_cert is not None and config.tls_key is not None:
            certificate = Certificate(config.tls_cert, config.tls_key)
        self.address = _public_address(config, self.http, self.https)
        self.store = await SqliteStore.open(config.data_dir / STORE_FILE)
        await self._assemble()
        if plain is not None:
            self._servers.append(await listen(self.ingress, plain))
        if secure is not None:
            self._servers.append(await listen(self.ingress, secure, certificate))
        self._spawn(_for_ever(lambda: self._sweep(certificate)))
        await self._start_admin()

    async def _assemble(self) -> None:
        config, address, clock = self._config, self.address, time.time
        keys_file, issuer = config.keys_file or config.data_dir / KEYS_FILE_NAME, address.url(address.domain)
        keys = RelayKeys(keys_file, issuer=issuer, every=config.key_rotation_seconds, clock=clock)
        ring, signer = keys.ring, keys.signer
        self._audit = audit = Audit(clock=clock, key=ring.digest_key("audit"), node=_node(address))
        self._audit_keeper = AuditKeeper(audit, self.store, keep_days=config.audit_days, clock=clock)
        self.registry = registry = Registry(clock=clock, monotonic=time.monotonic)
        for name in await self.store.names(clock() - LOST_SECONDS):
            registry.expect(name.host, name.owner, name.generation)
        self._providers = Providers(
            fetcher=Fetcher(self._transport()), clock=clock, monotonic=time.monotonic, allow_http=address.is_local
        )
        self._sessions = Sessions(
            address=address,
            ring=ring,
            store=self.store,
            signer=signer,
            clock=clock,
            providers=self._providers,
            audit=audit,
        )
        login = Login(
            address=address,
            ring=ring,
            sessions=self._sessions,
            providers=self._providers,
            store=self.store,
            endpoints=registry,
            clock=clock,
            audit=audit,
            limits=LoginLimits(metrics=self.metrics, audit=audit, monotonic=time.monotonic),
            shared_owners=frozenset(config.shared_callback_owner),
        )
        self._names = NameKeeper(
            self.store,
            registry,
            cool_seconds=config.cool_seconds,
            end_sessions=self._sessions.end_where,
            audit=audit,
            clock=clock,
        )
        desk = Desk(
            address=address,
            registry=registry,
            policy_key=ring.digest_key("policy"),
            names=self._names,
            audit=audit,
            metrics=self.metrics,
            spawn=self._spawn,
            warm=lambda connection: self._spawn(self._warm(connection)),
        )
        self._acceptor = Acceptor(desk, self.store, needs_tokens=config.needs_tokens, metrics=self.metrics, clock=clock)
        logout = Logout(
            address=address,
            ring=ring,
            sessions=self._sessions,
            providers=self._providers,
            clock=clock,
            spawn=self._spawn,
            audit=audit,
        )
        provider_logout = ProviderLogout(
            providers=self._providers,
            sessions=self._sessions,
            store=self.store,
            connections=registry,
            clock=clock,
            audit=audit,
        )
        web = WebApp(
            address=address,
            login=login,
            logout=logout,
            provider_logout=provider_logout,
            endpoints=registry,
            signer=signer,
            count_login=self.metrics.login,
        )
        bearers = Bearers(address=address, providers=self._providers, signer=signer, clock=clock, audit=audit)
        redirects = config.https is not None and config.public_url is None
        self.ingress = Ingress(
            address=address,
            registry=registry,
            router=Router(address, registry, is_token_free=not config.needs_tokens, redirects=redirects),
            gate=Gate(
                address=address,
                sessions=self._sessions,
                bearers=bearers,
                login=login,
                metrics=self.metrics,
                clock=clock,
            ),
            inside=Inside(web.build()),
            acceptor=self._acceptor,
            handover=Handover(ring.digest_key("handover"), is_secure=address.is_secure),
            access=self._access,
            metrics=self.metrics,
            hold_seconds=config.hold_seconds,
            idle_seconds=config.idle_seconds,
            visitor_requests=config.visitor_requests,
            trusted=config.trusted_proxy,
            audit=audit,
        )
        self._sessions.on_session_end = self.ingress.session_ended
        self._control = ControlSocket(config.data_dir, self._acceptor.revoke, self._sessions.hear)
        await self._control.start()
        self._spawn(_for_ever(RevokedTokens(self.store, self._acceptor.revoke, clock).run))
        self._spawn(_for_ever(self._sessions.upkeep.run))
        self._spawn(_for_ever(self._names.run))
        self._spawn(_for_ever(self._audit_keeper.run))
        self._spawn(_for_ever(lambda: keys.run(audit)))
        self._watch()

    def _transport(self) -> GuardedTransport:
        """Calls to providers: nowhere private, unless this relay is private itself or its operator says so."""
        networks = self._config.issuer_network
        if not self.address.is_local:
            return GuardedTransport(GuardRules(networks=networks, is_own=self._is_own))
        return GuardedTransport(
            GuardRules(allow_http=True, ports=None, networks=(*networks, *LOOPBACK), is_own=self._is_own)
        )

    def _is_own(self, host: str, port: int) -> bool:
        """Whether a provider's address is this relay itself: an endpoint as its own provider would loop.

        On `localhost` every other port of the name is somebody else, most likely the provider.
        """
        is_our_name = host == self.address.domain or host.endswith("." + self.address.domain)
        return is_our_name and (not self.address.is_local or port == self.address.port)

    async def _start_admin(self) -> None:
        config = self._config
        if config.admin is None:
            return
        checks: dict[str, Check] = {"store": self.store.ping, "serving": lambda: not self._is_draining}
        admin = Admin(config.admin.host, config.admin.port, metrics=self.metrics, checks=checks)
        try:
            self.admin = await admin.start()
            self._admin = admin
        except OSError as error:
            if "admin" in config.given:
                raise
            log.warning("no metrics and health checks: address=%s error=%s", config.admin, error)

    def _watch(self) -> None:
        watch = self.metrics.watch
        watch("open_visitors", lambda: self.ingress.visitor_count)
        watch("open_links", lambda: self._acceptor.link_count)
        watch("open_streams", lambda: self._acceptor.stream_count)
        watch("open_endpoints", lambda: self.registry.served_count)
        watch("waiting_requests", lambda: self.registry.held_count)

    # Running

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _sweep(self, certificate: Certificate | None) -> None:
        next_look = 0.0
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.ingress.sweep()
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + CERTIFICATE_SECONDS
                self.registry.forget_stale()
                if certificate is not None:
                    certificate.reload_if_changed()

    async def _warm(self, connection: Connection) -> None:
        for problem in await self._providers.check(connection):
            log.warning("provider check issuer=%s problem=%s", connection.issuer, problem)

    # Stopping

    async def _drain(self) -> None:
        """Agents are told first, so that they open links elsewhere while their exchanges here finish."""
        self._acceptor.go_away("the relay stops")
        self.ingress.drain()
        deadline = time.monotonic() + self._config.drain_seconds
        # Looked at now and then: an event would cost every exchange something, for the sake of one stop.
        while self.ingress.is_busy and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        self._acceptor.close()
        self.ingress.close()
        await asyncio.sleep(0)

    async def _close(self) -> None:
        if self._admin is not None:
            await self._admin.stop()
        if hasattr(self, "_control"):
            await self._control.stop()
        if hasattr(self, "_sessions"):
            await self._sessions.finish(RECHECK_SECONDS)
        if hasattr(self, "_providers"):
            await self._providers.aclose()
        if hasattr(self, "store"):
            if hasattr(self, "_names"):
                await self._names.flush()
                await self._audit_keeper.flush()
            await self.store.close()
        self._access.flush()


async def _for_ever(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs what a relay must not go on without: one that no longer hears of revocations would let everybody stay."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("background work failed, it begins anew")
        await asyncio.sleep(RESTART_SECONDS)


def _public_address(config: RelayConfig, http: tuple[str, int] | None, https: tuple[str, int] | None) -> PublicAddress:
    listening = https or http
    assert listening is not None  # the configuration refuses a relay without a listener
    return PublicAddress(
        scheme=config.scheme,
        domain=config.domain,
        port=config.public_port(listening[1]),
        callback_url=config.callback_url or "",
        is_multi_tenant=config.multi_tenant,
    )


def _node(address: PublicAddress) -> str:
    """What tells this relay's audit events from those of another relay on the same store."""
    return f"{socket.gethostname()}:{address.port}"


def _name(sock: socket.socket | None) -> tuple[str, int] | None:
    return sock.getsockname()[:2] if sock is not None else None
