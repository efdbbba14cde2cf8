"""Compiles an edge's row to its policy. Only this module decrypts the secrets of edges."""

from dataclasses import dataclass

import msgspec

from tunnelctl.bounds import DeclaredBound
from tunnelrelay.policy.compile import compile_policy
from tunnelrelay.policy.named_provider import Resolve
from tunnelrelay.policy.rules import Policy
from tunnelrelay.services.edge_settings import EdgeSecrets, EdgeSettings, are_whole, in_force, take_values
from tunnelrelay.services.service_base import ServiceBase
from tunnelrelay.store.resources import EdgeRow

PURPOSE = "edge"
"""Purpose for which an edge's secrets are encrypted; the audience is the edge's id, so that they cannot be decrypted in
another edge's row."""
MAX_SECRETS = 48 * 1024
"""Maximum bytes of an edge's secrets: hundreds of passwords, and 8 KiB of header fields in each direction."""
MAX_SEALED = 2 * MAX_SECRETS
MAX_OWNERS_BYTES = 4 * 1024 * 1024
"""Maximum bytes of all edges of one owner together: four kilobytes for each of a thousand. Every relay reads all edges
whenever one has changed, and compiled they take forty times as much."""

BOUNDS = (
    DeclaredBound(
        name="settings of all edges, as JSON",
        limit=MAX_OWNERS_BYTES,
        unit="bytes",
        per="owner",
        when_full="400, at the setting",
        worst_bytes=40 * MAX_OWNERS_BYTES,
    ),
)


class Unreadable(Exception):
    """An edge's secrets or settings cannot be read: their key was dropped, or the row is damaged.

    The edge must refuse all visitors.
    """


def size_of(row: EdgeRow) -> int:
    """Return the size of an edge's settings and secrets, in characters and bytes; see `MAX_OWNERS_BYTES`."""
    return len(row.settings) + len(row.sealed)


@dataclass(frozen=True, slots=True)
class EdgePolicies:
    """Encrypts, decrypts and compiles the policies of edges.

    Attributes:
        resolve: Function that resolves named providers.
    """

    base: ServiceBase
    resolve: Resolve

    def seal(self, edge_id: str, secrets: EdgeSecrets) -> bytes:
        """Return the secrets encrypted for the store; b"" without any."""
        return self.base.ring.seal(PURPOSE, edge_id, secrets).encode() if secrets else b""

    def open(self, row: EdgeRow) -> EdgeSecrets:
        """Return an edge's decrypted secrets, including those that rows of earlier releases have among their settings.

        Raises:
            Unreadable: The key is gone, the secrets were written by a newer release, or the row is damaged.
        """
        return take_values(self._parsed(row), self._opened(row))[1]

    def settings(self, row: EdgeRow) -> EdgeSettings:
        """Return the settings in an edge's row, without secrets.

        Raises:
            Unreadable: The row is damaged.
        """
        return take_values(self._parsed(row), EdgeSecrets())[0]

    def _opened(self, row: EdgeRow) -> EdgeSecrets:
        if not row.sealed:
            return EdgeSecrets()
        plain = self.base.ring.open(PURPOSE, row.id, row.sealed.decode("latin-1"), MAX_SEALED)
        if plain is None:
            raise Unreadable("its secrets cannot be opened: the key they were sealed with is gone")
        try:
            return msgspec.msgpack.decode(plain, type=EdgeSecrets)
        except msgspec.MsgspecError as error:
            raise Unreadable("its secrets are of a form this release does not know") from error

    def _parsed(self, row: EdgeRow) -> EdgeSettings:
        try:
            return EdgeSettings.parse(row.settings)
        except msgspec.MsgspecError as error:
            raise Unreadable("its settings cannot be read") from error

    def compile(self, settings: EdgeSettings, secrets: EdgeSecrets, *, owner: str) -> Policy:
        """Compile the policy of an edge.

        Raises:
            Unreadable: Secrets that the settings need are missing.
            PolicyInvalid: Lists all problems.
        """
        if not are_whole(settings, secrets):
            raise Unreadable("its passwords or headers are not those it should have")
        base = self.base
        return compile_policy(
            in_force(settings, secrets),
            upstream="",
            owner=owner,
            key=base.policy_key,
            is_local=base.address.is_local,
            resolve=self.resolve,
            refuses_issuer=base.refuses_issuer,
            is_kept=True,
        )
