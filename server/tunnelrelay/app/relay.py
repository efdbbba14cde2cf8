"""One relay from start to stop: listens, runs background tasks, and stops in order. `wiring.py` creates its parts."""

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any, Self

import httpx

from tunnelctl.eventlog import EventLog
from tunnelrelay.address import PublicAddress
from tunnelrelay.app.control_socket import ControlError
from tunnelrelay.app.start_problems import StartError, of_address, of_data_dir
from tunnelrelay.app.wiring import Parts, RelayInputs
from tunnelrelay.config.config import RelayConfig
from tunnelrelay.config.values import ListenAddress
from tunnelrelay.ingress.certificate_check import CertificateError
from tunnelrelay.ingress.ingress import SWEEP_SECONDS, Ingress
from tunnelrelay.ingress.listen import Certificate, Server, bind, listen
from tunnelrelay.keys.key_files import SecretFileError
from tunnelrelay.observe.access import AccessLog
from tunnelrelay.observe.admin import Admin, Check
from tunnelrelay.observe.metrics import Metrics
from tunnelrelay.registry.registry import Registry
from tunnelrelay.services.dashboard_login import DashboardLoginError
from tunnelrelay.services.trust_rules import TrustRuleError
from tunnelrelay.store.base import Store, StoreError
from tunnelrelay.store.opening import open_store

log = EventLog("tunnelrelay")

RECHECK_SECONDS = 5.0
"""Seconds that a stopping relay waits for token refreshes at identity providers: a visitor whose refresh is cut off
loses the session."""
CERTIFICATE_SECONDS = 5.0
"""Seconds between two checks whether the certificate's files have changed."""
RESTART_SECONDS = 1.0
"""Seconds before a background task that failed starts again: far less than the 5 s in which revocations must apply."""


class Relay:
    """One relay. Its background tasks run between `start` and `stop`.

    Args:
        access: The access log, which gets a line per exchange; none by default.
        clock: Returns Unix time.
        monotonic: Returns monotonic seconds, for limits and ages.
        transport: Transport of requests to identity providers; None for the network, behind the SSRF guard.

    Attributes:
        address: The public address; set by `start`, as the system may choose the port.
        config: The relay's settings.
        http, https, admin: The addresses that the relay listens on; None for those that are off.
        misgivings: Problems that browsers will have with the certificate, each with what to do.
        parts: The relay's parts; set by `start`.
    """

    def __init__(
        self,
        config: RelayConfig,
        *,
        access: AccessLog | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.config = config
        self._transport = transport
        self.clock = clock
        self.monotonic = monotonic
        self._access = access or AccessLog(lambda lines: None, is_on=False)
        self._tasks: set[asyncio.Task[None]] = set()
        self._bound: list[socket.socket] = []
        self._servers: list[Server] = []
        self._admin: Admin | None = None
        self._is_draining = False
        self.metrics = Metrics()
        self.http: tuple[str, int] | None = None
        self.https: tuple[str, int] | None = None
        self.misgivings: list[tuple[str, str]] = []
        self.admin: tuple[str, int] | None = None
        self.address: PublicAddress
        self.store: Store
        self.parts: Parts

    @property
    def ingress(self) -> Ingress:
        """The part that serves visitors' and agents' connections."""
        return self.parts.ingress

    @property
    def registry(self) -> Registry:
        """The registry of the names and tunnels that are served."""
        return self.parts.registry

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open the store, create the parts, and listen.

        Raises:
            StartError: A file, address or store is not available. Parts that have started are stopped again.
        """
        try:
            await self._start()
        except SecretFileError as error:
            await self.stop()
            raise StartError(error.message, error.hint) from error
        except (StoreError, ControlError, DashboardLoginError, TrustRuleError, CertificateError) as error:
            await self.stop()
            raise StartError(str(error), error.hint) from error
        except OSError as error:
            await self.stop()
            raise of_data_dir(self.config.data_dir, error) from error
        except StartError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop listening, let running exchanges finish for at most `drain_seconds`, then close all parts."""
        self._is_draining = True
        for server in self._servers:
            server.close()
        if hasattr(self, "parts"):
            self.parts.tcp_ports.close()
            await self._drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._close()

    # Starting

    async def _start(self) -> None:
        config = self.config
        config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        plain = self._bind("--http", config.http)
        secure = self._bind("--https", config.https)
        self.http, self.https = _name(plain), _name(secure)
        certificate = None
        if config.tls_cert is not None and config.tls_key is not None:
            certificate = Certificate(config.tls_cert, config.tls_key, config.domain)
            self.misgivings = certificate.misgivings
        self.address = config.public_address(
            http=self.http[1] if self.http else None, https=self.https[1] if self.https else None
        )
        self.store = await open_store(config.database, config.data_dir)
        parts = Parts(self._inputs())
        await parts.load()
        self.parts = parts
        await parts.control.start()
        for work in (*parts.background(), lambda: self._sweep(certificate)):
            self._spawn(_for_ever(work))
        if plain is not None:
            self._servers.append(await listen(parts.ingress, plain))
        if secure is not None:
            self._servers.append(await listen(parts.ingress, secure, certificate))
        await self._start_admin()

    def _bind(self, flag: str, address: ListenAddress | None) -> socket.socket | None:
        """Return a socket bound to the address; None for no address. `stop` closes it even if `start` fails later.

        Raises:
            StartError: The address cannot be bound; the message names the flag.
        """
        if address is None:
            return None
        try:
            bound = bind(*address)
        except OSError as error:
            raise of_address(flag, address, error) from error
        self._bound.append(bound)
        return bound

    def _inputs(self) -> RelayInputs:
        return RelayInputs(
            config=self.config,
            address=self.address,
            store=self.store,
            metrics=self.metrics,
            access=self._access,
            spawn=self._spawn,
            clock=self.clock,
            monotonic=self.monotonic,
            transport=self._transport,
        )

    async def _start_admin(self) -> None:
        config = self.config
        if config.admin is None:
            return
        checks: dict[str, Check] = {"store": self.store.ping, "serving": lambda: not self._is_draining}
        admin = Admin(config.admin.host, config.admin.port, metrics=self.metrics, checks=checks)
        try:
            self.admin = await admin.start()
            self._admin = admin
        except OSError as error:
            problem = of_address("--admin", config.admin, error)
            if "admin" in config.given:
                raise problem from error
            log.warning("no metrics and health checks", error=str(problem), hint=problem.hint)

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
            self.parts.tcp_ports.look()
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + CERTIFICATE_SECONDS
                self.registry.forget_stale()
                if certificate is not None:
                    certificate.reload_if_changed()

    # Stopping

    async def _drain(self) -> None:
        """Tell agents to connect elsewhere, wait up to `drain_seconds` for running exchanges, close all connections."""
        acceptor, ingress = self.parts.acceptor, self.parts.ingress
        acceptor.go_away("the relay stops")
        ingress.drain()
        deadline = time.monotonic() + self.config.drain_seconds
        # Polled: an event would make every exchange slower, for one stop.
        while ingress.is_busy and time.monotonic() < deadline:  # noqa: ASYNC110 (see above)
            await asyncio.sleep(0.05)
        acceptor.close()
        ingress.close()
        await ingress.asgi_bridge.close()
        await asyncio.sleep(0)

    async def _close(self) -> None:
        if self._admin is not None:
            await self._admin.stop()
        if hasattr(self, "parts"):
            await self.parts.control.stop()
            await self.parts.sessions.finish(RECHECK_SECONDS)
            await self.parts.providers.aclose()
            await self.parts.check.aclose()
            await self.parts.names.flush()
            await self.parts.audit_keeper.flush()
        if hasattr(self, "store"):
            await self.store.close()
        for bound in self._bound:
            bound.close()
        self._access.flush()


async def _for_ever(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a background task, and start it again `RESTART_SECONDS` after it fails or ends.

    A relay whose polling of revocations had stopped, for example, would keep revoked sessions.
    """
    while True:
        try:
            await work()
        except Exception:
            task = getattr(work, "__qualname__", repr(work))
            log.exception("background task failed, restarting", task=task, seconds=RESTART_SECONDS)
        await asyncio.sleep(RESTART_SECONDS)


def _name(sock: socket.socket | None) -> tuple[str, int] | None:
    return sock.getsockname()[:2] if sock is not None else None
