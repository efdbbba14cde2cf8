"""The URLs in the API's responses. They begin with the relay's public address, never with the request's Host."""

from dataclasses import dataclass
from urllib.parse import quote, urlencode

from tunnelrelay.address import PublicAddress

LOCAL_PREFIX = "/_tunnel/api"
"""The path under which a relay on localhost serves the API too, as many clients do not resolve `api.localhost`."""


@dataclass(frozen=True, slots=True)
class Links:
    """Makes the URLs in the response to one request, below the base URL by which the request came."""

    base: str
    address: PublicAddress

    def to(self, path: str, *ids: str) -> str:
        """Return the absolute URL of a resource: the base URL, a path, and ids as further segments."""
        return "/".join((self.base, path, *(quote(part, safe="") for part in ids)))

    def next_page(self, path: str, query: dict[str, object]) -> str:
        """Return the absolute URL of a list's next page, with this query."""
        return f"{self.base}/{path}?{urlencode(query)}"


def base_urls(address: PublicAddress) -> dict[str, str]:
    """Return the API's base URL for each prefix of a requested path; the prefix "" has the public one.

    A client of a local relay that used `LOCAL_PREFIX` gets links with that prefix, as it may not resolve the other
    host.
    """
    bases = {"": address.url(address.api_host)}
    if address.is_local:
        bases[LOCAL_PREFIX] = address.url("127.0.0.1") + LOCAL_PREFIX
    return bases
