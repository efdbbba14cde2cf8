"""Reserved TCP ports, which belong to an owner whether an agent serves them or not; the counterpart of `domains.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice

from tunnelctl.bounds import DeclaredBound
from tunnelrelay.agents.name_claims import NameClaims
from tunnelrelay.agents.tcp_addresses import MAX_LOOKED_AT, preferred, tcp_hosts
from tunnelrelay.config.values import PortRange
from tunnelrelay.registry.registry import Registry
from tunnelrelay.services.actor import Actor
from tunnelrelay.services.domains import ReservedRows
from tunnelrelay.services.problems import Kind, ManageError, invalid
from tunnelrelay.services.resource import Quota, Resource, Terms, as_it_is, without_none
from tunnelrelay.services.service_base import ServiceBase
from tunnelrelay.store.resources import DomainRow

MAX_ADDRS = 16
"""Maximum reserved ports of one owner, including released ones in their cool-down: as many as an owner may serve
(`agents.tcp_addresses`). An administrator may reserve more."""

BOUNDS = (
    DeclaredBound(
        name="tcp ports reserved, and those given up that are kept from others",
        limit=MAX_ADDRS,
        unit="ports",
        per="owner",
        when_full="409 `too_many`",
        worst_bytes=0,
    ),
)


class Addrs(Resource[DomainRow, DomainRow]):
    """Lists, reserves, changes and releases TCP ports, for the API and the dashboard.

    Args:
        names: Claims ports in the store, and ends sessions of former owners' visitors.
        registry: The live endpoints, to find ports that are served.
        ranges: The relay's ranges of ports.
    """

    terms = Terms(
        area="domains",
        noun="tcp address",
        kind="addr",
        created="domain.reserved",
        updated="domain.updated",
        deleted="domain.released",
    )

    def __init__(self, base: ServiceBase, names: NameClaims, registry: Registry, ranges: Sequence[PortRange]) -> None:
        super().__init__(base, ReservedRows(base, names, "tcp"), as_it_is)
        self._names = names
        self._registry = registry
        self.port_ranges = ranges

    @property
    def ranges(self) -> str:
        """The relay's ports, for display; "" when it has none."""
        return ", ".join(map(str, self.port_ranges))

    async def create(
        self,
        actor: Actor,
        addr: str = "",
        description: str = "",
        metadata: str = "",
        owner: str | None = None,
    ) -> DomainRow:
        """Reserve a TCP port.

        Args:
            addr: A port, with or without the relay's domain in front (`tun.example:20022`); "" for any free port.
            owner: New owner of the port; None for the actor's own. Only administrators may give another one.

        Raises:
            ManageError: FORBIDDEN, INVALID, CONFLICT when the port is not available, AWAY.
        """
        whose = self._begin(actor, owner=owner, description=description, metadata=metadata)
        host = self._asked(addr.strip()) or await self._free(whose)
        row = DomainRow(**self._stamp(whose), host=host, description=description, metadata=metadata, proto="tcp")
        return await self._add(actor, row, self._reserve)

    async def update(
        self, actor: Actor, addr_id: str, *, description: str | None = None, metadata: str | None = None
    ) -> DomainRow:
        """Change the given values of a reservation.

        Raises:
            ManageError: FORBIDDEN, MISSING, INVALID, CONFLICT when another user changed it meanwhile; AWAY.
        """
        self._begin_change(actor, description=description, metadata=metadata)
        texts = without_none(description=description, metadata=metadata)
        return await self._change(actor, addr_id, lambda row: replace(row, **texts))

    def _about(self, row: DomainRow) -> Mapping[str, str]:
        return {"host": row.host}

    def _quota(self) -> Quota:
        hint = "Release counts too: a port you gave up is kept from others for a while."
        return Quota(limit=MAX_ADDRS, things="reserved tcp ports", hint=hint, spares_admins=True)

    async def _count(self, row: DomainRow, limit: int) -> int:
        cooling = await self._names.cooling_ports(row.owner)
        return await super()._count(row, limit) + len(cooling - {row.host})

    def _taken(self, row: DomainRow) -> ManageError:
        text = f"{row.host} is reserved or in use already."
        return ManageError(Kind.CONFLICT, "domain_taken", text, "Choose another port, or leave it to the relay.")

    async def _reserve(self, row: DomainRow) -> bool:
        held = await self._names.reserve(row)
        return held is not None and held.owner == row.owner

    def _asked(self, wish: str) -> str:
        """Return the host of the port that a user asks for; "" for any free port."""
        if not self.port_ranges:
            hint = "The relay's operator starts it with --tcp-ports, for example --tcp-ports 20000-20100."
            raise invalid({"addr": "this relay has no ports for tcp tunnels"}, hint)
        if not wish:
            return ""
        address = self.base.address
        host, _, text = wish.lower().rpartition(":")
        is_port = text.isascii() and text.isdigit() and len(text) < 6 and host in ("", address.domain)
        if not is_port or not any(int(text) in each.ports for each in self.port_ranges):
            raise invalid({"addr": f"{wish[:120]!r} is not one of this relay's ports"}, f"They are {self.ranges}.")
        return address.tcp_host(int(text))

    async def _free(self, owner: str) -> str:
        """Return the host of a port that is neither reserved, nor served, nor in a former owner's cool-down."""
        with self.base.store_calls():
            reserved = {row.host for row in await self.base.store.domains.all(proto="tcp")}
            hosts = preferred(owner, tcp_hosts(self.base.address, tuple(self.port_ranges)))
            free = (each for each in hosts if each not in reserved and self._registry.owner_of(each) in ("", owner))
            for host in islice(free, MAX_LOOKED_AT):
                name = await self.base.store.name(host)
                if name is None or name.owner == owner or self._names.kept_until(name) <= self.base.clock():
                    return host
        raise ManageError(Kind.CONFLICT, "domain_taken", "No tcp port of this relay is free.", "Try again later.")
