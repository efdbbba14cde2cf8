"""The URLs in answers: always under the relay's public address, never under the request's Host."""

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
        """The URL of a list's next page."""
        return f"{self.base}/{path}?{urlencode(query)}"


def base_urls(address: PublicAddress) -> dict[str, str]:
    """The API's base address for each prefix of requested paths; the first is the public one.

    A client of a local relay that came by its prefix gets links with that prefix: it may not resolve the other name.
    """
    bases = {"": address.url(address.api_host)}
    if address.is_local:
        bases[LOCAL_PREFIX] = address.url("127.0.0.1") + LOCAL_PREFIX
    return bases
