"""Applies edges, tunnel groups and providers in the store to the running relay: at its start, after its own changes,
and after those of other relays.

Every time, the current state is read from the store, one read after the other, so that two changes that arrive in the
wrong order end with the newer one. An edge whose rules cannot be compiled (a key was dropped, a provider was deleted)
refuses every visitor: a broken edge is never open.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tunnelctl.eventlog import EventLog
from tunnelctl.policy.named import is_named
from tunnelctl.wire.texts import EDGE_LABEL
from tunnelrelay.policy.compile import PolicyInvalid
from tunnelrelay.policy.rules import CLOSED, Policy
from tunnelrelay.registry.edges import EdgeTable, LiveEdge
from tunnelrelay.registry.registry import Registry
from tunnelrelay.services.edge_policy import EdgePolicies, Unreadable, size_of
from tunnelrelay.services.edge_settings import EdgeSettings
from tunnelrelay.services.provider_directory import ProviderDirectory
from tunnelrelay.services.reencrypt import reencrypt
from tunnelrelay.services.service_base import ServiceBase
from tunnelrelay.store.base import StoreError
from tunnelrelay.store.resources import EdgeRow, Pairs

log = EventLog("tunnelrelay.services")

LOOK_EVERY = 2.0
"""Seconds between two polls for changes by other relays or commands, which take effect within 5 s."""

TOPICS = {"tokens": "credentials", "api_keys": "credentials", "backends": "edges"}
"""Topics for live pages, by kind of rows; for other kinds the topic is the kind itself. See `observe.feed`."""


@dataclass(frozen=True, slots=True)
class _AppliedEdge:
    """An edge as it was applied, kept so that it can be applied again without the store when a provider changes.

    Attributes:
        group: Labels of its tunnel group; None without one.
        is_named: Its login uses a named provider.
        problem: Why every visitor is refused; "" when they are not.
    """

    row: EdgeRow
    group: Pairs | None
    generation: int
    is_named: bool
    problem: str = ""


class EdgeSync:
    """Applies the edges, tunnel groups and providers in the store to the running relay.

    The owner calls `load`, and then runs `run` as a task.
    """

    def __init__(
        self,
        base: ServiceBase,
        *,
        table: EdgeTable,
        registry: Registry,
        directory: ProviderDirectory,
        policies: EdgePolicies,
    ) -> None:
        self._base = base
        self._table = table
        self._registry = registry
        self._directory = directory
        self._policies = policies
        self._edges: dict[str, _AppliedEdge] = {}
        self._seen: dict[str, int] = {}
        self._turn = asyncio.Lock()
        self._is_failing = False
        self._sealed_by = ""

    def edges_of(self, owner: str) -> int:
        """Return how many edges an owner has."""
        return sum(kept.row.owner == owner for kept in self._edges.values())

    def bytes_of(self, owner: str, *, but: str = "") -> int:
        """Return the total size of an owner's edges, without the one with the id `but`."""
        rows = (kept.row for kept in self._edges.values())
        return sum(size_of(row) for row in rows if row.owner == owner and row.id != but)

    def problem_of(self, edge_id: str) -> str:
        """Return why an edge refuses every visitor; "" when it does not."""
        kept = self._edges.get(edge_id)
        return kept.problem if kept is not None else ""

    # At the start, and after the store was replaced

    async def load(self) -> None:
        """Apply everything in the store.

        Raises:
            StoreError: The store cannot be read.
        """
        async with self._turn:
            now = await self._base.store.revisions()
            await self._load_providers()
            await self._load_edges()
            self._seen = now

    async def reload(self) -> None:
        """Drop the applied state and load everything again, as the store may have been replaced.

        Raises:
            StoreError: The store cannot be read; the next poll tries again.
        """
        self._edges.clear()
        self._seen = {}
        await self.load()
        self._notify(self._seen)

    # After a change by this relay

    async def edge_changed(self, edge_id: str) -> None:
        """Apply an edge that was created, changed or deleted in the store.

        Raises:
            StoreError: The store is unavailable; the next poll applies the change.
        """
        async with self._turn:
            row = await self._base.store.edges.get(edge_id)
            if row is None:
                self._drop(edge_id)
            else:
                await self._apply(row)

    async def backend_changed(self, backend_id: str) -> None:
        """Apply a tunnel group whose labels have changed."""
        async with self._turn:
            for row in await self._base.store.edges.all(backend_id=backend_id):
                await self._apply(row)

    async def providers_changed(self) -> None:
        """Apply changed named providers to all edges and tunnels that use one."""
        async with self._turn:
            await self._load_providers()

    # After changes by other relays

    async def run(self) -> None:
        """Poll the store every other second, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self.look()

    async def look(self) -> None:
        """Apply changes in the store since the last poll; do nothing while the store is unavailable."""
        try:
            now = await self._base.store.revisions()
            changed = {kind for kind, number in now.items() if self._seen.get(kind) != number}
            async with self._turn:
                if "providers" in changed:
                    await self._load_providers()
                if changed & {"edges", "backends"}:
                    await self._load_edges()
            self._notify(changed)
            await self._reseal()
        except StoreError as error:
            if not self._is_failing:
                log.warning("edge sync failed, retrying", error=error)
            self._is_failing = True
            return
        self._is_failing = False
        self._seen = now

    async def _reseal(self) -> None:
        kid = self._base.ring.sealing(self._base.clock()).kid
        if kid != self._sealed_by:
            await reencrypt(self._base, self._policies)
            self._sealed_by = kid

    def _notify(self, kinds: Iterable[str]) -> None:
        for kind in kinds:
            self._base.publish(TOPICS.get(kind, kind))

    # The inside

    async def _load_providers(self) -> None:
        self._directory.load(await self._base.store.providers.all())
        for kept in [kept for kept in self._edges.values() if kept.is_named]:
            self._put(kept.row, kept.group, kept.generation)
            await asyncio.sleep(0)  # let other tasks run: there may be thousands of edges, each a fraction of a ms
        self._recompile_tunnels()

    async def _load_edges(self) -> None:
        rows = await self._base.store.edges.all()
        for edge_id in {edge.id for edge in self._table} - {row.id for row in rows}:
            self._drop(edge_id)
        groups = {row.id: row.labels for row in await self._base.store.backends.all()}
        for row in rows:
            kept = self._edges.get(row.id)
            group = groups.get(row.backend_id)
            if kept is None or (kept.row, kept.group) != (row, group):
                self._put(row, group, await self._generation(row))
                await asyncio.sleep(0)

    async def _apply(self, row: EdgeRow) -> None:
        group = await self._base.store.backends.get(row.backend_id) if row.backend_id else None
        self._put(row, group.labels if group is not None else None, await self._generation(row))

    async def _generation(self, row: EdgeRow) -> int:
        name = await self._base.store.name(row.host) if row.host is not None else None
        return name.generation if name is not None else 1

    def _labels(self, row: EdgeRow, settings: EdgeSettings, group: Pairs | None) -> Pairs:
        """Return the labels that the edge's tunnels must have; empty, which matches no tunnel, when none may serve
        it.
        """
        if settings.route is None or not settings.backend_enabled:
            return ()
        return ((EDGE_LABEL, row.id),) if not row.backend_id else group or ()

    def _put(self, row: EdgeRow, group: Pairs | None, generation: int) -> None:
        policy, problem, settings = CLOSED, "", EdgeSettings()
        try:
            settings = self._policies.settings(row)
            policy = self._compiled_before(row) or self._policies.compile(
                settings, self._policies.open(row), owner=row.owner
            )
        except (Unreadable, PolicyInvalid) as error:
            problem = str(error)
            log.error(
                "edge refuses all requests, its settings cannot be used", id=row.id, host=row.host, reason=problem
            )
        except Exception:  # any error makes only this edge refuse all requests
            policy, problem = CLOSED, "its rules cannot be made out; the relay's log tells more"
            log.exception("edge refuses all requests, applying its settings failed", id=row.id, host=row.host)
        oidc = settings.policy.oidc
        self._edges[row.id] = _AppliedEdge(row, group, generation, oidc is not None and is_named(oidc.issuer), problem)
        edge = LiveEdge(
            id=row.id,
            owner=row.owner,
            host=row.host,
            generation=generation,
            policy=policy,
            labels=self._labels(row, settings, group),
            sticky=settings.sticky,
        )
        if edge != self._table.get(row.id):
            self._table.put(edge)
        self._publish(row)

    def _compiled_before(self, row: EdgeRow) -> Policy | None:
        """Return the policy that this version of the row was compiled to; None if it must be compiled, which takes long
        for a large one.
        """
        kept, edge = self._edges.get(row.id), self._table.get(row.id)
        if kept is None or edge is None or kept.row != row or kept.is_named or kept.problem:
            return None
        return edge.policy

    def _drop(self, edge_id: str) -> None:
        kept = self._edges.pop(edge_id, None)
        self._table.drop(edge_id)
        if kept is not None:
            self._publish(kept.row)

    def _publish(self, row: EdgeRow) -> None:
        self._base.publish(f"edge:{row.id}")
        self._base.publish(f"edges:{row.owner}")

    def _recompile_tunnels(self) -> None:
        """Recompile the policies of agents' endpoints whose login uses a named provider."""
        for endpoint in self._registry:
            if endpoint.edge or endpoint.policy is None:
                continue
            recompile = next((each.recompile for each in endpoint.tunnels if each.recompile is not None), None)
            if recompile is not None:
                policy = self._compiled(recompile, endpoint.host)
            elif not endpoint.tunnels and _names_provider(endpoint.policy):
                policy = CLOSED  # its agent is away and will bind again when it comes back
            else:
                continue
            if policy != endpoint.policy:
                endpoint.policy = policy
                for connection in policy.providers():
                    self._table.prefetch(connection)

    def _compiled(self, recompile: Callable[[], Policy], host: str) -> Policy:
        try:
            return recompile()
        except PolicyInvalid as error:
            log.error("endpoint refuses all requests", host=host, reason=error)
            return CLOSED


def _names_provider(policy: Policy) -> bool:
    return policy.connection is not None and bool(policy.connection.provider)
