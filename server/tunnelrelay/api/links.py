"""Addresses that answers carry: always the relay's public ones, whatever a request says about its host."""

from dataclasses import dataclass
from urllib.parse import quote, urlencode

from tunnelrelay.address import PublicAddress

LOCAL_PREFIX = "/_tunnel/api"
"""Where a relay on its own machine answers too, under its address: many clients do not resolve `api.localhost`."""


@dataclass(frozen=True, slots=True)
class Links:
    """Addresses below one of the API's base addresses."""

    base: str
    address: PublicAddress

    def to(self, path: str, *ids: str) -> str:
        """The absolute address of a resource: a path, then ids."""
        return "/".join((self.base, path, *(quote(part, safe="") for part in ids)))

    def next_page(self, path: str, query: dict[str, object]) -> str:
        """Where a list goes on."""
        return f"{self.base}/{path}?{urlencode(query)}"


def base_urls(address: PublicAddress) -> dict[str, str]:
    """The API's base address by the prefix of the paths that were asked for; the first one is the public one.

    Who comes by the prefix of a local relay is led on there, since he may be unable to resolve the other name.
    """
    bases = {"": address.url(address.api_host)}
    if address.is_local:
        bases[LOCAL_PREFIX] = address.url("127.0.0.1") + LOCAL_PREFIX
    return bases
