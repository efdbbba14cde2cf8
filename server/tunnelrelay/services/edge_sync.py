"""What is set up, brought to the running relay: at its start, after every change it makes, and after those of others.

Every application reads the store anew, one after the other: two changes of one edge that overtake each other on their
way here still leave the newer one in force. Rules that cannot be had (a key was dropped, a provider was deleted) are
replaced by ones that refuse every visitor: an edge is never open because something about it is broken.
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
"""Seconds between two looks whether another relay or a command has changed something: it acts within 5 s."""

TOPICS = {"tokens": "credentials", "api_keys": "credentials", "backends": "edges"}
"""What pages follow of some kinds of rows; of the others it is the kind itself. See `observe.feed`."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """An edge as it was applied, to apply it anew without the store when a provider changes.

    Attributes:
        group: Labels of its tunnel group, as they were read; None without one.
        is_named: Its login names a provider.
        problem: Why every visitor is refused; "" when none is.
    """

    row: EdgeRow
    group: Pairs | None
    generation: int
    is_named: bool
    problem: str = ""


class EdgeSync:
    """See the module. The owner runs `run` as a task, after `load`."""

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
        self._edges: dict[str, _Kept] = {}
        self._seen: dict[str, int] = {}
        self._turn = asyncio.Lock()
        self._is_deaf = False
        self._sealed_by = ""

    def edges_of(self, owner: str) -> int:
        """How many edges an owner has."""
        return sum(kept.row.owner == owner for kept in self._edges.values())

    def bytes_of(self, owner: str, *, but: str = "") -> int:
        """How much an owner's edges are, without the one with the id `but`."""
        rows = (kept.row for kept in self._edges.values())
        return sum(size_of(row) for row in rows if row.owner == owner and row.id != but)

    def problem_of(self, edge_id: str) -> str:
        """Why an edge refuses every visitor; "" when it does not."""
        kept = self._edges.get(edge_id)
        return kept.problem if kept is not None else ""

    # At the start, and after the store was replaced

    async def load(self) -> None:
        """Brings everything in force.

        Raises:
            StoreError: The store cannot be read.
        """
        async with self._turn:
            now = await self._base.store.revisions()
            await self._load_providers()
            await self._load_edges()
            self._seen = now

    async def reload(self) -> None:
        """The same for a store that may have become another one: nothing of what was known counts.

        Raises:
            StoreError: The store cannot be read; the next look tries again.
        """
        self._edges.clear()
        self._seen = {}
        await self.load()
        self._tell(self._seen)

    # After a change of this relay's

    async def edge_changed(self, edge_id: str) -> None:
        """An edge was made, changed or deleted in the store.

        Raises:
            StoreError: The store went away since; the next look applies what was written.
        """
        async with self._turn:
            row = await self._base.store.edges.get(edge_id)
            if row is None:
                self._drop(edge_id)
            else:
                await self._apply(row)

    async def backend_changed(self, backend_id: str) -> None:
        """A tunnel group has other labels."""
        async with self._turn:
            for row in await self._base.store.edges.all(backend_id=backend_id):
                await self._apply(row)

    async def providers_changed(self) -> None:
        """A named provider was registered, changed or deleted: whatever names one goes by it at once."""
        async with self._turn:
            await self._load_providers()

    # After changes of others

    async def run(self) -> None:
        """Looks every other second, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self.look()

    async def look(self) -> None:
        """Applies what was changed in the store since the last look. A store that is away changes nothing here."""
        try:
            now = await self._base.store.revisions()
            changed = {kind for kind, number in now.items() if self._seen.get(kind) != number}
            async with self._turn:
                if "providers" in changed:
                    await self._load_providers()
                if changed & {"edges", "backends"}:
                    await self._load_edges()
            self._tell(changed)
            await self._reseal()
        except StoreError as error:
            if not self._is_deaf:
                log.warning("edge sync failed, retrying", error=error)
            self._is_deaf = True
            return
        self._is_deaf = False
        self._seen = now

    async def _reseal(self) -> None:
        kid = self._base.ring.sealing(self._base.clock()).kid
        if kid != self._sealed_by:
            await reencrypt(self._base, self._policies)
            self._sealed_by = kid

    def _tell(self, kinds: Iterable[str]) -> None:
        for kind in kinds:
            self._base.publish(TOPICS.get(kind, kind))

    # The inside

    async def _load_providers(self) -> None:
        self._directory.load(await self._base.store.providers.all())
        for kept in [kept for kept in self._edges.values() if kept.is_named]:
            self._put(kept.row, kept.group, kept.generation)
            await asyncio.sleep(0)  # each takes a fraction of a millisecond, and there may be thousands
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
        """What the edge's tunnels carry; nothing, which no tunnel matches, when no tunnel is to serve it."""
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
        except Exception:  # the boundary of one edge: whatever is wrong with it closes it, and stops no other
            policy, problem = CLOSED, "its rules cannot be made out; the relay's log tells more"
            log.exception("edge refuses all requests, applying its settings failed", id=row.id, host=row.host)
        oidc = settings.policy.oidc
        self._edges[row.id] = _Kept(row, group, generation, oidc is not None and is_named(oidc.issuer), problem)
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
        """The policy this very row was compiled to, which takes long for a large one; None to compile it anew."""
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
        """Endpoints that agents asked for and whose login names a provider go by what it is now."""
        for endpoint in self._registry:
            if endpoint.edge or endpoint.policy is None:
                continue
            recompile = next((each.recompile for each in endpoint.tunnels if each.recompile is not None), None)
            if recompile is not None:
                policy = self._compiled(recompile, endpoint.host)
            elif not endpoint.tunnels and _names_provider(endpoint.policy):
                policy = CLOSED  # its agent is away for a moment, and is asked again what it wants when it is back
            else:
                continue
            if policy != endpoint.policy:
                endpoint.policy = policy
                for connection in policy.providers():
                    self._table.warm(connection)

    def _compiled(self, recompile: Callable[[], Policy], host: str) -> Policy:
        try:
            return recompile()
        except PolicyInvalid as error:
            log.error("endpoint refuses all requests", host=host, reason=error)
            return CLOSED


def _names_provider(policy: Policy) -> bool:
    return policy.connection is not None and bool(policy.connection.provider)
